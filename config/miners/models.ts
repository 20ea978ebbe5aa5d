import type { TerahashesPerSecond, Watts } from '../../protocols/units.ts';

/** Nominal figures of a miner model, for estimates and plausibility: wall watts ±5 %, hashrate ±3 %. */
export interface MinerModel {
  readonly name: string;
  readonly vendor: 'Bitmain' | 'MicroBT' | 'Canaan' | 'Bitdeer';
  readonly nominalHashrateThs: TerahashesPerSecond;
  readonly nominalWatts: Watts;
  readonly cooling: 'air' | 'hydro' | 'immersion';
  /** Stock firmware of this model offers a low-power mode. */
  readonly lowPowerMode: boolean;
}

type Row = readonly [name: string, nominalHashrateThs: number, nominalWatts: number, note?: 'low-power'];

/** Source: vendors' specification sheets at 25 to 35 °C. `low-power`: models whose stock page offers that mode. */
const ROWS: Readonly<Record<MinerModel['vendor'], readonly Row[]>> = {
  Bitmain: [
    ['Antminer S9', 13.5, 1350],
    ['Antminer S19', 95, 3250],
    ['Antminer S19 Pro', 110, 3250],
    ['Antminer S19j', 90, 3100],
    ['Antminer S19j Pro', 104, 3068],
    ['Antminer S19j Pro+', 122, 3355, 'low-power'],
    ['Antminer S19k Pro', 120, 2760],
    ['Antminer S19 XP', 140, 3010, 'low-power'],
    ['Antminer S19 XP Hyd', 255, 5304],
    ['Antminer S19 Pro+ Hyd', 198, 5445],
    ['Antminer T19', 84, 3150],
    ['Antminer T21', 190, 3610],
    ['Antminer S21', 200, 3500, 'low-power'],
    ['Antminer S21+', 216, 3564, 'low-power'],
    ['Antminer S21 Pro', 234, 3510, 'low-power'],
    ['Antminer S21 XP', 270, 3645, 'low-power'],
    ['Antminer S21 Hyd', 335, 5360, 'low-power'],
    ['Antminer S21+ Hyd', 319, 4785, 'low-power'],
    ['Antminer S21 XP Hyd', 473, 5676, 'low-power'],
  ],
  MicroBT: [
    ['Whatsminer M20S', 68, 3360],
    ['Whatsminer M30S', 86, 3268],
    ['Whatsminer M30S+', 100, 3400],
    ['Whatsminer M30S++', 112, 3472],
    ['Whatsminer M50', 114, 3306],
    ['Whatsminer M50S', 126, 3276],
    ['Whatsminer M50S++', 150, 3300],
    ['Whatsminer M53', 226, 6554],
    ['Whatsminer M56S', 212, 5550],
    ['Whatsminer M60', 172, 3422],
    ['Whatsminer M60S', 186, 3441],
    ['Whatsminer M60S+', 204, 3468],
    ['Whatsminer M63', 334, 6646],
    ['Whatsminer M63S', 390, 7215],
    ['Whatsminer M66', 280, 5572],
    ['Whatsminer M66S', 298, 5513],
  ],
  Canaan: [
    ['Avalon A1246', 90, 3420],
    ['Avalon A1346', 110, 3300],
    ['Avalon A1366', 130, 3250],
    ['Avalon A1466', 150, 3230],
    ['Avalon A1566', 185, 3420],
    ['Avalon Home Q', 90, 1674],
  ],
  Bitdeer: [['SEALMINER A2', 226, 3730]],
};

/** Every model known, one per name. */
export const MINER_MODELS: readonly MinerModel[] = (
  Object.entries(ROWS) as [MinerModel['vendor'], readonly Row[]][]
).flatMap(([vendor, rows]) =>
  rows.map(([name, nominalHashrateThs, nominalWatts, note]) => ({
    name,
    vendor,
    nominalHashrateThs,
    nominalWatts,
    cooling: coolingOf(name),
    lowPowerMode: note === 'low-power',
  })),
);

/**
 * The model that a device or a configuration means by `name` ("Antminer S19k Pro", "M60S-VK40",
 * "S21 Pro (Vnish 1.2.7)", "M30S++VH100"), or `null`. A variant that is not in the table is not taken for
 * its plainer sister: "S19 Pro Hyd" is unknown, not an S19 Pro.
 */
export function findMinerModel(name: string | null): MinerModel | null {
  if (name === null) return null;
  const known = found.get(name);
  if (known !== undefined) return known;
  const model = lookUp(name);
  // Names come from devices: what is remembered is bounded.
  if (found.size >= 1000) found.clear();
  found.set(name, model);
  return model;
}

const found = new Map<string, MinerModel | null>();

function lookUp(name: string): MinerModel | null {
  const tokens = tokensOf(name);
  let best: MinerModel | null = null;
  let bestLength = 0;
  for (const [model, modelTokens] of MODEL_TOKENS) {
    if (modelTokens.length <= bestLength || modelTokens.length > tokens.length) continue;
    if (modelTokens.every((token, index) => token === tokens[index])) {
      best = model;
      bestLength = modelTokens.length;
    }
  }
  return best === null || VARIANT.test(tokens[bestLength] ?? '') ? null : best;
}

/** Words that make another machine of a model name. */
const VARIANT = /^(?:pro\+?|xp|hyd|imm|immersion|plus|\+|[a-z])$/;

const MODEL_TOKENS = new Map(MINER_MODELS.map((model) => [model, tokensOf(model.name)]));

function tokensOf(name: string): readonly string[] {
  return (
    name
      .toLowerCase()
      .replace(
        /\b(?:bitmain|antminer|microbt|whatsminer|canaan|avalonminer|avalon|bitdeer|sealminer)\b/g,
        ' ',
      )
      // Avalon names itself "1246-83" and "15-194".
      .replace(/^\s*(1\d{3})\b/, 'a$1')
      .replace(/^\s*15-\d+/, 'a1566')
      .replace(/^\s*q\s*$/, 'home q')
      // "M30S++VH100": the hash-board version is a word of its own.
      .replace(/\b(m\d+s?\+*)[-_ ]?(v[a-z0-9]+)/, '$1 $2')
      .replace(/\bhydro\b|\bhyd\.?/g, 'hyd')
      .split(/[\s_()/-]+/)
      .filter((token) => token !== '')
  );
}

function coolingOf(name: string): MinerModel['cooling'] {
  if (/Hyd| M53| M63/.test(name)) return 'hydro';
  return / M56| M66/.test(name) ? 'immersion' : 'air';
}
