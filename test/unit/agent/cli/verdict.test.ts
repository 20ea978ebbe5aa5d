import { describe, expect, it } from 'vitest';
import { verdict } from '../../../../agent/cli/agent-commands.ts';
import type { Lease } from '../../../../agent/orders/book.ts';
import { madeUpAlarm, madeUpLimit, madeUpView } from '../../../support/page-source.ts';

const over = madeUpLimit('grid', null, { powerWatts: 900_000, limitWatts: 800_000, headroomWatts: -100_000 });
const view = madeUpView([over]);
const lease: Lease = {
  orderId: 'o',
  issuer: 'demo',
  priority: 1,
  limit: 'grid',
  watts: 800_000,
  createdAt: view.ts - 10_000,
  expiresAt: null,
  onExpiry: 'hold',
  overdue: false,
  notBefore: null,
  withinMs: 30_000,
};

describe('the verdict of the command line', () => {
  it('says that a limit is being met while its deadline runs, and that it is over afterwards', () => {
    expect(verdict(view, [lease])).toMatch(/is coming down to its limit: grid by 100 kW within 20 s\.$/);
    expect(verdict(view, [{ ...lease, withinMs: 10_000 }])).toMatch(/is OVER its limit at grid by 100 kW/);
    expect(verdict(view)).toMatch(/is OVER its limit/);
  });

  it('says at once what the agent alone cannot meet, whatever the deadline', () => {
    const alarm = (target: string, code = 'cannot-be-met') =>
      madeUpView([over], { alarms: [madeUpAlarm(code, target)] });
    expect(verdict(alarm('grid'), [lease])).toMatch(
      /is OVER its limit at grid by 100 kW\. The agent alone cannot bring grid under it\.$/,
    );
    expect(verdict(alarm('train'), [lease])).toMatch(/is coming down/);
    expect(verdict(alarm('grid', 'over-limit'), [lease])).toMatch(/is coming down/);
  });
});
