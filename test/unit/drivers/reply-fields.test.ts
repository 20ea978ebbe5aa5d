import { describe, expect, it } from 'vitest';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  flagOf,
  hashrateThs,
  hottest,
  macOf,
  mergedRecords,
  nothingSaid,
  numberedChains,
  numberedFans,
  numberOf,
  poolsOf,
  rateUnitOf,
  recentHashrateThs,
} from '../../../drivers/miners/reply-fields.ts';

const table = (rows: readonly (readonly [unknown, unknown])[], read: (value: unknown) => unknown) =>
  expect(rows.map(([said]) => [said, read(said)])).toEqual(rows);

describe('one figure of a reply', () => {
  it('is a number, bare, in text, or with a unit glued on', () => {
    table(
      [
        [12.5, 12.5],
        [0, 0],
        [-1, -1],
        ['12.5', 12.5],
        ['37603.30', 37603.3],
        ['58.94W', 58.94],
        ['4052.00 RPM', 4052],
        ['3250 W', 3250],
        ['11.53V', 11.53],
        ['  49 % ', 49],
        ['\t 7 \n', 7],
        ['47.5°C', 47.5],
        ['14 J/TH', 14],
        ['110 GH/s', 110],
        ['+3', 3],
        ['-273.0', -273],
        ['4.4e16', 4.4e16],
        ['4.4E+16', 4.4e16],
        ['12e-3', 0.012],
        // Difficulties as cgminer shortens them; a unit of more letters is a unit.
        ['262K', 262_000],
        ['16.4K', 16_400],
        ['1.5M', 1.5e6],
        ['2 G', 2e9],
        ['1.2T', 1.2e12],
        ['12 m', 12],
        ['3 kW', 3],
      ],
      numberOf,
    );
  });

  it('is nothing where no number is said', () => {
    table(
      [
        '',
        ' ',
        'N/A',
        'nan',
        'inf',
        'm-m-m-m',
        '78-50',
        '0:00:03',
        'W',
        'x5',
        '5 6',
        '1.2.3',
        '1.',
        '.5',
        '1e999',
        '5W!',
      ].map((said) => [said, null] as const),
      numberOf,
    );
    table(
      [NaN, Infinity, -Infinity, null, undefined, true, false, [], [5], {}].map(
        (said) => [said, null] as const,
      ),
      numberOf,
    );
  });

  it('is looked for in 64 characters, not in a text of any length', () => {
    expect(numberOf('5'.padStart(64))).toBe(5);
    expect(numberOf('5'.padStart(65))).toBeNull();
  });

  it('is the first that is said of several names', () => {
    const record = { a: 'N/A', b: 0, c: 2 };
    expect(firstNumber(record, 'a', 'b', 'c')).toBe(0);
    expect(firstNumber(record, 'c', 'b')).toBe(2);
    expect(firstNumber(record, 'a', 'z')).toBeNull();
    expect(firstNumber(record)).toBeNull();
  });
});

describe('one text of a reply', () => {
  it('is the first that says something, without blanks and the quotes that btminer adds', () => {
    expect(firstText({ a: " '20210322.22.REL' " }, 'a')).toBe('20210322.22.REL');
    expect(firstText({ a: "it's" }, 'a')).toBe("it's");
    expect(firstText({ a: "'half" }, 'a')).toBe("'half");
    expect(firstText({ a: "say 'x'" }, 'a')).toBe("say 'x'");
    expect(firstText({ a: "'x' said" }, 'a')).toBe("'x' said");
    expect(
      firstText({ a: '', b: ' ', c: 'N/A', d: 5, e: "''", f: 'here' }, 'a', 'b', 'c', 'd', 'e', 'f'),
    ).toBe('here');
    expect(firstText({ a: 'one', b: 'two' }, 'b', 'a')).toBe('two');
    expect(firstText({ a: null }, 'a', 'b')).toBeNull();
  });

  it('is at most 200 characters', () => {
    expect(firstText({ a: 'x'.repeat(300) }, 'a')).toBe('x'.repeat(200));
  });
});

it('a flag is read as miners write it', () => {
  table(
    [
      [true, true],
      [false, false],
      [1, true],
      [0, false],
      [2, null],
      ['true', true],
      ['True', true],
      ['1', true],
      ['Y', true],
      ['false', false],
      ['FALSE', false],
      ['0', false],
      ['n', false],
      ['', null],
      ['on', null],
      [' true', null],
      [null, null],
      [undefined, null],
      [['true'], null],
    ],
    flagOf,
  );
});

it('an address is 12 hex digits in any spelling, and not all zero', () => {
  table(
    [
      ['C4:08:28:00:A4:19', 'c4:08:28:00:a4:19'],
      ['c4-08-28-00-a4-19', 'c4:08:28:00:a4:19'],
      ['c408.2800.a419', 'c4:08:28:00:a4:19'],
      [' 123456789012 ', '12:34:56:78:90:12'],
      ['00:00:00:00:00:01', '00:00:00:00:00:01'],
      ['10:00:00:00:00:00', '10:00:00:00:00:00'],
      ['00:00:00:00:00:00', null],
      ['02:55:97:22:3M:72', null],
      ['02:55:97:22:3a', null],
      ['02:55:97:22:3a:72:11', null],
      ['x02:55:97:22:3a:72', null],
      ['', null],
      ['02559722'.padEnd(60, ':').concat('3a72'), '02:55:97:22:3a:72'],
      ['02559722'.padEnd(61, ':').concat('3a72'), null],
      [123456789012, null],
      [null, null],
    ],
    macOf,
  );
});

it('the hottest of some sensors leaves out absent ones', () => {
  expect(hottest('78-50-69-70')).toBe(78);
  expect(hottest('50-78')).toBe(78);
  expect(hottest([51, 49, 69.5])).toBe(69.5);
  expect(hottest(42)).toBe(42);
  expect(hottest(null, '60-61', undefined, [59, '62'])).toBe(62);
  expect(hottest('0-0-0-0', -273, 'm-m-m-m', 'N/A', [], {})).toBeNull();
  // A sensor that has no more to say than its greatest number.
  expect(hottest('70-255', 200)).toBe(70);
  expect(hottest(199)).toBe(199);
  expect(hottest()).toBeNull();
});

describe('a hashrate', () => {
  it('is TH/s, from the unit of its field', () => {
    expect([hashrateThs(67_000_000, 'MH'), hashrateThs(110_500, 'GH'), hashrateThs(181.1, 'TH')]).toEqual([
      67, 110.5, 181.1,
    ]);
    expect([hashrateThs(0, 'GH'), hashrateThs(null, 'GH')]).toEqual([0, null]);
  });

  it('is none when negative or beyond any machine', () => {
    expect([hashrateThs(-0.001, 'TH'), hashrateThs(1500, 'TH'), hashrateThs(1500.1, 'TH')]).toEqual([
      null,
      1500,
      null,
    ]);
    // MH/s in a field of GH/s.
    expect(hashrateThs(110_566_890, 'GH')).toBeNull();
  });

  it('whose field names no unit has the unit beside it, GH/s where there is none', () => {
    const said = ['GH/s', 'GH', 'gh/s', 'MH/s', 'TH/s', 'TH', '', undefined, 7, 'KSol/s', 'GB/s', 'xTH', 'G'];
    expect(said.map((rate_unit) => rateUnitOf({ rate_unit }))).toEqual([
      'GH',
      'GH',
      'GH',
      'MH',
      'TH',
      'TH',
      'GH',
      'GH',
      'GH',
      null,
      null,
      null,
      null,
    ]);
    expect(hashrateThs(5, null)).toBeNull();
  });

  it('to control by is the shortest window there is, in the unit that its name carries', () => {
    const windows = ['5s', '1m', '5m', 'av'];
    for (const [place, window] of windows.entries()) {
      const longer = Object.fromEntries(windows.slice(place + 1).map((name) => [`GHS ${name}`, 1000]));
      expect(recentHashrateThs({ ...longer, [`GHS ${window}`]: 90_000 }), window).toBe(90);
      expect(recentHashrateThs({ ...longer, [`MHS ${window}`]: 90e6 }), window).toBe(90);
    }
    expect(recentHashrateThs({ 'GHS 5s': '', 'GHS 1m': 'nan', 'MHS av': 5e6 })).toBe(5);
    expect(recentHashrateThs({ 'GHS 5s': 0, 'GHS av': 90_000 })).toBe(0);
    expect(recentHashrateThs({ 'GHS 30m': 90_000, 'Total MH': 4e16 })).toBeNull();
  });

  it('has J/TH while there is work to speak of', () => {
    expect(efficiencyJoulesPerTh(3000, 100)).toBe(30);
    for (const [watts, ths] of [
      [null, 100],
      [3000, null],
      [0, 100],
      [-1, 100],
      [3000, 0],
      [3000, -1],
    ] as const)
      expect(efficiencyJoulesPerTh(watts, ths), `${watts} W, ${ths} TH/s`).toBeNull();
  });
});

describe('pools', () => {
  const poolOf = (pool: object) => poolsOf({ POOLS: [pool] })[0];

  it('are read in either spelling', () => {
    expect(poolOf({ URL: 'a', 'Stratum URL': 'b', User: 'u', Status: 'Alive', Priority: 2 })).toEqual({
      url: 'a',
      user: 'u',
      status: 'alive',
      priority: 2,
    });
    expect(poolOf({ 'Stratum URL': 'b', url: 'c' })).toMatchObject({ url: 'b', user: null, priority: null });
    expect(poolOf({ url: 'c', user: 'v', status: 'Dead', priority: 3 })).toEqual({
      url: 'c',
      user: 'v',
      status: 'dead',
      priority: 3,
    });
    // Whatsminer API 3.
    expect(poolOf({ url: 'd', account: 'w', 'pool-priority': '1' })).toMatchObject({
      user: 'w',
      priority: 1,
    });
    expect(poolOf({})).toEqual({ url: '', user: null, status: 'unknown', priority: null });
  });

  it('have the state that cgminer tells', () => {
    const said = ['Alive', 'DEAD', 'Disabled', 'Rejecting', 'Probing', ''];
    expect(said.map((Status) => poolOf({ Status })?.status)).toEqual([
      'alive',
      'dead',
      'disabled',
      'rejecting',
      'unknown',
      'unknown',
    ]);
  });

  it('are no more than 64', () => {
    expect(poolsOf({ POOLS: Array.from({ length: 100 }, () => ({})) })).toHaveLength(64);
    expect(poolsOf({})).toEqual([]);
  });
});

describe('numbered fields of Bitmain and its descendants', () => {
  it('make a board of every chain that is there, up to 16', () => {
    const chain = (n: number) => ({
      [`chain_acn${n}`]: 63,
      [`chain_rate${n}`]: '4500',
      [`chain_acs${n}`]: ' oooo xxo',
      [`temp_chip${n}`]: '60-71',
    });
    const board = { hashrateThs: 4.5, chipTemperatureCelsius: 71, chipsAlive: 63, chips: 7 };
    // An S9 has its boards at 6 to 8.
    expect(numberedChains({ ...chain(6), ...chain(16), ...chain(17), ...chain(0) })).toEqual([
      { index: 5, ...board },
      { index: 15, ...board },
    ]);
    expect(numberedChains({ chain_acn1: 63, temp2_1: 80 })).toEqual([
      { index: 0, hashrateThs: null, chipTemperatureCelsius: 80, chipsAlive: 63, chips: null },
    ]);
  });

  it('leave out a chain without chips and rate, and keep one that has either', () => {
    expect(numberedChains({ chain_acn1: 0, chain_rate1: '' })).toEqual([]);
    expect(numberedChains({ chain_acn1: 0, chain_rate1: '0.00' })).toEqual([]);
    expect(numberedChains({ chain_rate1: '4500', temp_chip1: '60' })).toEqual([]);
    expect(numberedChains({ chain_acn1: 0, chain_rate1: '4500' })).toHaveLength(1);
    expect(numberedChains({ chain_acn1: 3, chain_rate1: '0.00' })).toHaveLength(1);
  });

  it('count chips on the map, dead ones too', () => {
    const chips = (map: unknown) => numberedChains({ chain_acn1: 1, chain_acs1: map })[0]?.chips;
    expect([chips(' ooo oxo'), chips('x'), chips(''), chips('---'), chips(7)]).toEqual([
      6,
      1,
      null,
      null,
      null,
    ]);
  });

  it('list fans 1 to 8, as many as the unit says it has', () => {
    const fans = Object.fromEntries(Array.from({ length: 9 }, (_, fan) => [`fan${fan + 1}`, 1000 + fan]));
    expect(numberedFans(fans)).toEqual([1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007]);
    expect(numberedFans({ ...fans, fan_num: 2 })).toEqual([1000, 1001]);
    // Two fans of which the first place is empty.
    expect(numberedFans({ fan_num: 2, fan1: '', fan3: '6000', fan4: 0, fan5: 5000 })).toEqual([6000, 0]);
    expect(numberedFans({ fan1: -1, fan2: 5000 })).toEqual([5000]);
    expect(numberedFans({ fan_num: 0, fan1: 5000 })).toEqual([]);
    expect(numberedFans({})).toEqual([]);
  });
});

it('records of a section are one, the last word counts', () => {
  expect(mergedRecords({ STATS: [{ a: 1, b: 1 }, { b: 2 }] }, 'STATS')).toEqual({ a: 1, b: 2 });
  expect(mergedRecords({ STATS: { a: 1 } }, 'STATS')).toEqual({ a: 1 });
  expect(mergedRecords({ STATS: 'none' }, 'STATS')).toEqual({});
  expect(mergedRecords({ OTHER: [{ a: 1 }] }, 'STATS')).toEqual({});
  expect(mergedRecords(undefined, 'STATS')).toEqual({});
});

it('a device that said nothing has no figure and takes no command', () => {
  expect(nothingSaid('unknown')).toEqual({
    kind: 'miner',
    firmware: 'unknown',
    vendor: null,
    model: null,
    firmwareVersion: null,
    macAddress: null,
    serialNumber: null,
    state: 'unknown',
    hashrateThs: null,
    nominalHashrateThs: null,
    powerWatts: null,
    powerSource: null,
    powerLimitWatts: null,
    efficiencyJoulesPerTh: null,
    chipTemperatureCelsius: null,
    boardTemperatureCelsius: null,
    fanRpm: [],
    uptimeSeconds: null,
    rejectedPercent: null,
    boards: [],
    pools: [],
    errors: [],
    control: { sleep: false, wake: false, powerLimit: null, sleepMs: null, wakeMs: null, changeMs: null },
  });
});
