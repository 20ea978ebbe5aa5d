import type { Config } from '../config/schema.ts';
import type { Asks } from './orders/asks.ts';
import { type RunningPage, type StaticFile, servePage } from './page/server.ts';
import type { PageSource } from './page/source.ts';
import type { Condition } from './site/alarms.ts';

/** Where the page is to listen, out of `host:port`; an IPv6 host may stand in brackets. */
export function pageAddress(config: Config): { host: string; port: number } {
  const { listen } = config.page;
  const colon = listen.lastIndexOf(':');
  return { host: listen.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listen.slice(colon + 1)) };
}

/** Opens the page where the configuration says, or, with `anyPort`, on a free port where that one is taken. */
export async function openPage(
  config: Config,
  options: { readonly files: ReadonlyMap<string, StaticFile>; readonly anyPort: boolean },
  source: PageSource,
  asks: Asks,
): Promise<RunningPage> {
  const { host, port: wanted } = pageAddress(config);
  const serve = (port: number) =>
    servePage(source, { host, port, allowedHosts: config.page.hosts, files: options.files, asks });
  try {
    return await serve(wanted);
  } catch (error) {
    if (options.anyPort && (error as NodeJS.ErrnoException).code === 'EADDRINUSE') return serve(0);
    throw error;
  }
}

/** The agent runs although somebody else has its page's port: another agent may have it, so nothing rises. */
export function pagePortTaken(config: Config): Condition {
  return {
    code: 'page-port-taken',
    severity: 'critical',
    target: 'site',
    message: `Another program has the port of the page, ${config.page.listen}: the page is on a free port, and nothing rises in case it is a second agent.`,
    nextStep: 'Find it with `ss -ltnp`, end it or set `page: { listen: ... }`, then restart the agent.',
  };
}
