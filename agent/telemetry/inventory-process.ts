import { readInventory } from './inventory.ts';

/** A process of its own: prints the inventory as one line of JSON and ends. */
process.stdout.write(`${JSON.stringify(await readInventory())}\n`, () => process.exit());
