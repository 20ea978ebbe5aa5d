import { readInventory } from './inventory.ts';

/** A process of its own: prints the inventory as one line of JSON and ends. */
void readInventory().then((inventory) =>
  process.stdout.write(`${JSON.stringify(inventory)}\n`, () => process.exit()),
);
