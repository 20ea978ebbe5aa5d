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

test('firm power that gives way is named with the limit that it gives way to', () => {
  const site = controlSite(14, 3, false);
  const { observation, context, result } = site.cycle();
  const { id, limit } = context.devices[0]!.model;
  const { state, decision } = result;
  const said = (yields: boolean) =>
    controlConditions(
      { ...context, floors: [{ id: 'train', devices: ['elsewhere', id], watts: 1000 }] },
      {
        ...result,
        decision: { ...decision, shortfalls: [{ target: 'train', watts: 300 }] },
        state: {
          ...state,
          limits: { ...state.limits, [limit]: { ...state.limits[limit]!, firm: { since: 0, yields } } },
        },
      },
      observation,
      new Map(),
      null,
    )
      .filter(({ code }) => code === 'cannot-be-met')
      .map(({ message, nextStep }) => `${message} ${nextStep}`);
  expect(said(true)).toEqual([
    `The firm power of train gives way to ${limit}: 300 W are missing, and everything else below ${limit} is down. ` +
      `Raise ${limit}, or move the work of train elsewhere: what it was promised does not fit.`,
  ]);
  expect(said(false)[0]).toMatch(/^The firm power of train cannot be met by its nodes/);
});

test('a limit that firm power overruns says so as long as that has not given way', () => {
  const site = controlSite(14, 3, false);
  const { observation, context, result } = site.cycle();
  const { id, limit } = context.devices[0]!.model;
  const { state, decision } = result;
  const said = (devices: readonly string[], yields: boolean) =>
    controlConditions(
      { ...context, floors: [{ id: 'train', devices, watts: 1000 }] },
      {
        ...result,
        decision: { ...decision, shortfalls: [{ target: limit, watts: 300 }] },
        state: {
          ...state,
          limits: { ...state.limits, [limit]: { ...state.limits[limit]!, firm: { since: 0, yields } } },
        },
      },
      observation,
      new Map(),
      null,
    )
      .filter(({ target, code }) => target === limit && /firm|cannot/.test(code))
      .map(({ code, severity, message }) => [code, severity, message]);
  expect(said([id], false)).toEqual([
    ['firm-above-limit', 'major', `${limit} does not hold the firm power below it: 300 W too many.`],
  ]);
  const beyond = `${limit} cannot be met by anything the agent may command: 300 W too many.`;
  expect(said([id], true)).toEqual([['cannot-be-met', 'critical', beyond]]);
  expect(said(['elsewhere'], false)).toEqual([['cannot-be-met', 'critical', beyond]]);
});
