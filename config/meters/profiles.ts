import abbB23B24 from './abb-b23-b24.json' with { type: 'json' };
import abbM4m from './abb-m4m.json' with { type: 'json' };
import abbReu615 from './abb-reu615.json' with { type: 'json' };
import accuenergyAcuvim2 from './accuenergy-acuvim2.json' with { type: 'json' };
import carlogavazziEm24E1 from './carlogavazzi-em24-e1.json' with { type: 'json' };
import carlogavazziEm24Rtu from './carlogavazzi-em24-rtu.json' with { type: 'json' };
import carlogavazziEm340 from './carlogavazzi-em340.json' with { type: 'json' };
import eastronSdm72dM from './eastron-sdm72d-m.json' with { type: 'json' };
import eastronSdm120 from './eastron-sdm120.json' with { type: 'json' };
import eastronSdm630 from './eastron-sdm630.json' with { type: 'json' };
import eigShark200 from './eig-shark200.json' with { type: 'json' };
import janitzaUmg19000 from './janitza-umg-19000.json' with { type: 'json' };
import janitzaUmg6041317 from './janitza-umg604-1317.json' with { type: 'json' };
import type { MeterProfile } from './profile.ts';
import { meterProfileSchema, profileFaults } from './profile.ts';
import satecEm133 from './satec-em133.json' with { type: 'json' };
import satecPm180 from './satec-pm180.json' with { type: 'json' };
import schneiderIem3155 from './schneider-iem3155.json' with { type: 'json' };
import schneiderP3u30 from './schneider-p3u30.json' with { type: 'json' };
import schneiderPm5560 from './schneider-pm5560.json' with { type: 'json' };
import sel735 from './sel-735.json' with { type: 'json' };
import siemensPac1600 from './siemens-pac1600.json' with { type: 'json' };
import siemensPac2200 from './siemens-pac2200.json' with { type: 'json' };
import siemensPac3200Pac4200 from './siemens-pac3200-pac4200.json' with { type: 'json' };
import socomecCountis from './socomec-countis.json' with { type: 'json' };
import socomecDirisA10 from './socomec-diris-a10.json' with { type: 'json' };
import socomecDirisB30 from './socomec-diris-b30.json' with { type: 'json' };
import sunspecMeter from './sunspec-meter.json' with { type: 'json' };

/** Every register map that ships. A new meter is one file in this folder and one line here. */
const MAPS: readonly unknown[] = [
  abbB23B24,
  abbM4m,
  abbReu615,
  accuenergyAcuvim2,
  carlogavazziEm24E1,
  carlogavazziEm24Rtu,
  carlogavazziEm340,
  eastronSdm120,
  eastronSdm630,
  eastronSdm72dM,
  eigShark200,
  janitzaUmg19000,
  janitzaUmg6041317,
  satecEm133,
  satecPm180,
  schneiderIem3155,
  schneiderP3u30,
  schneiderPm5560,
  sel735,
  siemensPac1600,
  siemensPac2200,
  siemensPac3200Pac4200,
  socomecCountis,
  socomecDirisA10,
  socomecDirisB30,
  sunspecMeter,
];

/**
 * Profiles by id. Throws on a map that breaks the schema or a law of profiles, and on two maps of one name:
 * those are bugs of this project, not of a site.
 */
export function indexProfiles(maps: readonly unknown[]): ReadonlyMap<string, MeterProfile> {
  const index = new Map<string, MeterProfile>();
  for (const map of maps) {
    const profile = meterProfileSchema.parse(map);
    const faults = profileFaults(profile);
    if (faults.length > 0)
      throw new Error(faults.map(({ message }) => `${profile.id}: ${message}`).join('\n'));
    if (index.has(profile.id)) throw new Error(`two meter profiles are named ${profile.id}`);
    index.set(profile.id, profile);
  }
  return index;
}

let shipped: ReadonlyMap<string, MeterProfile> | null = null;

/** All profiles that ship, by id. */
export function meterProfiles(): ReadonlyMap<string, MeterProfile> {
  shipped ??= indexProfiles(MAPS);
  return shipped;
}

const read = new Map<string, MeterProfile | null>();

/** The profile named `id`, or `null`. A start reads only the maps that its meters name. */
export function meterProfile(id: string): MeterProfile | null {
  const known = shipped?.get(id) ?? read.get(id);
  if (known !== undefined) return known;
  const map = MAPS.find((candidate) => (candidate as { readonly id?: unknown }).id === id);
  const profile = map === undefined ? null : (indexProfiles([map]).get(id) ?? null);
  read.set(id, profile);
  return profile;
}
