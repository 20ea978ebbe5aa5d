import { expect, test } from 'vitest';
import { controlConditions } from '../../../../agent/control/conditions.ts';
import { controlSite } from '../../../support/control-site.ts';

test('what cannot be met is named in watts: a limit is over, a floor is missed', () => {
  const site = controlSite(14, 3, false);
  const { observation, context, result } = site.cycle();
  const shortfalls = [
    { target: 'feeder-a', watts: 1200 },
    { target: 'train', watts: 300 },
  ];
  const found = controlConditions(
    { ...context, floors: [{ id: 'train', devices: [], watts: 1000 }] },
    { ...result, decision: { ...result.decision, shortfalls } },
    observation,
    new Map(),
    null,
  ).filter(({ code }) => code === 'cannot-be-met');
  expect(found.map(({ target, message, nextStep }) => [target, message, nextStep])).toEqual([
    [
      'feeder-a',
      'feeder-a cannot be met by anything the agent may command: 1200 W too many.',
      'Switch something off by hand, or give the agent authority over more of it.',
    ],
    [
      'train',
      'The firm power of train cannot be met by its nodes: 300 W are missing.',
      'Look at the nodes of train that are away or set aside, or lower its `firm`.',
    ],
  ]);
});
