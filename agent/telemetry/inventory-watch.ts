import { execFile } from 'node:child_process';
import { programCommand } from '../../config/program-files.ts';
import type { Clock } from '../../protocols/clock.ts';
import { environment } from '../../protocols/process.ts';
import type { HostInventory } from './inventory.ts';

/** The start belongs to control. */
const FIRST_AFTER_MS = 30_000;
const EVERY_MS = 86_400_000;
/** Longer than all its questions may take together. */
const LIMIT_MS = 30_000;

/** Reads the inventory; `null` when it could not. */
export type ReadInventory = (stop: AbortSignal) => Promise<HostInventory | null>;

/**
 * The inventory of the gateway, read half a minute after the start and daily from then on. The library that reads it
 * blocks its process while programs run that can hang on sick hardware, and holds 10 MB: neither is control's to bear.
 */
export class InventoryWatch {
  private inventory: HostInventory | null = null;
  private readonly clock: Clock;
  private readonly stop: AbortSignal;
  private readonly read: ReadInventory;

  constructor(clock: Clock, stop: AbortSignal, read: ReadInventory = inventoryOfChild) {
    this.clock = clock;
    this.stop = stop;
    this.read = read;
    this.after(FIRST_AFTER_MS);
  }

  /** What was read last; `null` before that, or while the gateway does not say. */
  current(): HostInventory | null {
    return this.inventory;
  }

  private after(ms: number): void {
    const cancel = this.clock.after(ms, () => {
      this.stop.removeEventListener('abort', cancel);
      void this.read(this.stop).then((inventory) => {
        this.inventory = inventory ?? this.inventory;
        if (!this.stop.aborted) this.after(EVERY_MS);
      });
    });
    this.stop.addEventListener('abort', cancel, { once: true });
  }
}

/** Reads it in a process of its own, which is killed when it takes too long. Never fails. */
function inventoryOfChild(stop: AbortSignal): Promise<HostInventory | null> {
  const [program, ...args] = programCommand('agent/telemetry/inventory-process');
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { env: environment(), timeout: LIMIT_MS, killSignal: 'SIGKILL', maxBuffer: 1_000_000, signal: stop },
      (error, stdout) => {
        try {
          resolve(error === null ? (JSON.parse(stdout) as HostInventory) : null);
        } catch {
          resolve(null);
        }
      },
    );
  });
}
