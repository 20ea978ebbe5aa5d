import { expect, test } from 'vitest';
import { stepContext } from '../../../../agent/control/rules.ts';
import { buildSiteModel } from '../../../../agent/site/model.ts';
import { loadConfigText } from '../../../../config/load.ts';

/** The stagger of each limit of a site with two halls. */
function staggers(halls: readonly [first: number, second: number], control = '{}'): Record<string, unknown> {
  const text = [
    'site: { id: staggered }',
    'limits:',
    '  - { id: grid, rating: 20 MW }',
    '  - { id: a, parent: grid, rating: 10 MW }',
    '  - { id: b, parent: grid, rating: 10 MW }',
    'miners:',
    ...halls.map(
      (count, hall) =>
        `  - { id: h${hall}, limit: ${hall === 0 ? 'a' : 'b'}, hosts: [10.${hall}.0.1-10.${hall}.${Math.floor(count / 256)}.${count % 256}], firmware: luxos, model: "Antminer S19k Pro" }`,
    ),
    `control: ${control}`,
  ].join('\n');
  const loaded = loadConfigText(text);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config, miners } = loaded.value;
  const { limits, rules } = stepContext(config, buildSiteModel(config, miners));
  return {
    ...Object.fromEntries(limits.map((limit) => [limit.id, limit.wakesPerTenSeconds])),
    rules: rules.wakesPerTenSeconds,
  };
}

test('the stagger of wakes grows with the number of devices below a limit', () => {
  expect(staggers([667, 1400])).toEqual({ grid: 63, a: 21, b: 42, rules: 20 });
  expect(staggers([10, 200])).toEqual({ grid: 20, a: 20, b: 20, rules: 20 });
});

test('one that is said holds for each limit', () => {
  const said = staggers([667, 1400], '{ wakesPerTenSeconds: 7 }');
  expect(said).toEqual({ grid: 7, a: 7, b: 7, rules: 7 });
});
