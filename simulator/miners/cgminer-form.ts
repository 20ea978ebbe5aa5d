import { type ReplyBody, type SimulatedMinerPlace, whenSeconds } from './api-server.ts';

/** What a firmware puts around its replies. */
export interface ReplyStyle {
  readonly place: SimulatedMinerPlace;
  readonly description: string;
}

/** `{"STATUS":[...],NAME:[...],"id":1}` as cgminer writes it. */
export function reply(
  style: ReplyStyle,
  code: number,
  message: string,
  sections: ReplyBody = {},
  letter: 'S' | 'E' | 'I' = 'S',
): ReplyBody {
  return {
    STATUS: [
      {
        STATUS: letter,
        When: whenSeconds(style.place),
        Code: code,
        Msg: message,
        Description: style.description,
      },
    ],
    ...sections,
    id: 1,
  };
}

export function invalidCommand(style: ReplyStyle): ReplyBody {
  return reply(style, 14, 'Invalid command', {}, 'E');
}

/** Answers a joined command: each member in a list of its own, an unknown one with its own error. */
export function joined(
  style: ReplyStyle,
  command: string,
  single: (command: string) => ReplyBody | null,
): ReplyBody {
  const sections: Record<string, unknown> = {};
  for (const member of new Set(command.split('+').map((name) => name.trim())))
    sections[member] = [single(member) ?? invalidCommand(style)];
  return { ...sections, id: 1 };
}

/** The text form of a reply, for requests that were not JSON. */
export function asText(body: ReplyBody): string {
  let text = '';
  for (const [section, records] of Object.entries(body)) {
    if (!Array.isArray(records)) continue;
    for (const record of records as readonly ReplyBody[]) {
      if ('STATUS' in record && section !== 'STATUS') {
        text += `CMD=${section}|${asText(record)}`;
        continue;
      }
      const indexed = section === 'POOLS' ? 'POOL' : section === 'DEVS' ? firstKey(record) : section;
      const fields = Object.entries(record).map(
        ([key, value]) => `${escaped(key)}=${escaped(String(value))}`,
      );
      text += `${indexed in record ? '' : `${section},`}${fields.join(',')}|`;
    }
  }
  return text;
}

function firstKey(record: ReplyBody): string {
  return Object.keys(record)[0] ?? '';
}

function escaped(text: string): string {
  return text.replace(/[\\,=|]/g, (character) => `\\${character}`);
}

/** Two pools, the second spare, in the form that `cgminer` lists. */
export function poolRecords(mining: boolean): readonly ReplyBody[] {
  return ['pool-a.example', 'pool-b.example'].map((host, index) => ({
    POOL: index,
    URL: `stratum+tcp://${host}:3333`,
    Status: 'Alive',
    Priority: index,
    Quota: 1,
    'Long Poll': 'N',
    Getworks: mining ? 656 : 0,
    Accepted: index === 0 ? 724 : 0,
    Rejected: 0,
    Stale: 0,
    User: 'acct.worker',
    'Last Share Time': 0,
    'Stratum Active': index === 0 && mining,
    'Stratum URL': host,
    'Pool Rejected%': 0,
    'Pool Stale%': 0,
  }));
}
