import type { MqttConfig } from '../../config/schema.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { Condition } from '../site/alarms.ts';
import type { OrderService } from './service.ts';
import { type TargetOrder, TargetSource } from './target-source.ts';

/** The sources of levels that a configuration names, each ordering as an issuer. */
export class TargetSources {
  private readonly sources: readonly {
    readonly topic: string;
    readonly issuer: string;
    readonly limit: string;
    readonly source: TargetSource;
  }[];
  private readonly clock: Clock;
  private readonly orders: OrderService;

  constructor(mqtt: MqttConfig | undefined, clock: Clock, orders: OrderService) {
    this.clock = clock;
    this.orders = orders;
    this.sources = (mqtt?.targets ?? []).map((target) => ({
      topic: target.topic,
      issuer: target.issuer,
      limit: target.limit,
      source: new TargetSource(
        {
          limit: target.limit,
          offWatts: target.off,
          silence: target.silence,
          silenceAfterMs: target.silenceAfter,
          withinMs: target.within,
        },
        clock.monotonicMs(),
      ),
    }));
  }

  /** A message on a topic outside the site's own. */
  receive(topic: string, payload: Uint8Array, retained: boolean): void {
    for (const { source, issuer, topic: own } of this.sources)
      if (own === topic)
        this.order(issuer, source.receive(payload, retained, this.clock.monotonicMs(), this.clock.epochMs()));
  }

  cycle(): void {
    for (const { source, issuer } of this.sources) this.order(issuer, source.cycle(this.clock.monotonicMs()));
  }

  conditions(): Condition[] {
    return this.sources.flatMap(({ source, topic, limit }) =>
      source.isSilent
        ? [
            {
              code: 'target-silent',
              severity: 'major',
              target: limit,
              message: `Nothing has come on ${topic} for too long.`,
              nextStep: 'Look at the system that sends it and at the broker.',
            },
          ]
        : [],
    );
  }

  private order(issuer: string, order: TargetOrder | null): void {
    if (order !== null) this.orders.receiveFor(issuer, order.type, order.args);
  }
}
