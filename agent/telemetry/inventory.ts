import { cpu, fsSize, osInfo, system } from 'systeminformation';

/** What the gateway is made of: slow facts, read once at start and daily. `null` where the box does not say. */
export interface HostInventory {
  readonly manufacturer: string | null;
  readonly model: string | null;
  readonly cpu: string | null;
  readonly cores: number | null;
  readonly distribution: string | null;
  readonly kernel: string | null;
  readonly architecture: string;
  readonly disks: readonly {
    readonly mount: string;
    readonly sizeBytes: number;
    readonly usedPercent: number;
  }[];
}

/** Longest wait for one question: the library starts programs that can hang on sick hardware. */
const QUESTION_LIMIT_MS = 5000;

/**
 * Reads the inventory. Never fails: what cannot be had is `null`. Arguments are constant, and of the library
 * only calls without a history of command injection are used.
 */
export async function readInventory(): Promise<HostInventory> {
  const [board, processor, os, disks] = await Promise.all([
    within(system()),
    within(cpu()),
    within(osInfo()),
    within(fsSize()),
  ]);
  return {
    manufacturer: said(board?.manufacturer),
    model: said(board?.model),
    cpu: said(processor?.brand),
    cores: processor?.cores ?? null,
    distribution: os === null ? null : said(`${os.distro} ${os.release}`.trim()),
    kernel: said(os?.kernel),
    architecture: process.arch,
    disks: (disks ?? []).slice(0, 20).map((disk) => ({
      mount: disk.mount,
      sizeBytes: disk.size,
      usedPercent: Math.round(disk.use * 10) / 10,
    })),
  };
}

async function within<T>(question: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), QUESTION_LIMIT_MS);
    timer.unref();
  });
  try {
    return await Promise.race([question, late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

function said(text: string | undefined): string | null {
  return text === undefined || text.trim() === '' || text === 'unknown' ? null : text.trim().slice(0, 200);
}
