import type { PageSource } from './source.ts';

/**
 * `/metrics` in the Prometheus text format 0.0.4. Base units and `_total` names after the Prometheus
 * conventions, so that `promtool check metrics` is content. Devices are not listed one by one: telemetry is for that.
 */
export function renderMetrics(source: PageSource): string {
  const out = new MetricText();
  const view = source.view();
  const counters = source.counters();
  const host = source.host();
  out.gauge('switchyard_info', 'Version of the agent.', [
    [{ version: source.version, site: source.model.siteId }, 1],
  ]);
  out.gauge('switchyard_healthy', 'Whether control cycles run on fresh readings (1) or not (0).', [
    [{}, source.healthy().ok ? 1 : 0],
  ]);
  if (view !== null) {
    const { limits } = view;
    const perLimit = (pick: (limit: (typeof limits)[number]) => number | null): Sample[] =>
      limits.flatMap((limit): Sample[] => {
        const value = pick(limit);
        return value === null ? [] : [[{ limit: limit.id }, value]];
      });
    out.gauge(
      'switchyard_limit_power_watts',
      'Power through a limit.',
      perLimit((limit) => limit.powerWatts),
    );
    out.gauge(
      'switchyard_limit_watts',
      'Limit in force.',
      perLimit((limit) => limit.limitWatts),
    );
    out.gauge(
      'switchyard_limit_rating_watts',
      'Configured rating.',
      perLimit((limit) => limit.ratingWatts),
    );
    out.gauge(
      'switchyard_limit_worst_watts',
      'The most that could flow by what is proved.',
      perLimit((limit) => limit.worstWatts),
    );
    out.gauge(
      'switchyard_limit_age_seconds',
      'Age of the power figure.',
      perLimit((limit) => (limit.ageMs === null ? null : limit.ageMs / 1000)),
    );
    out.gauge('switchyard_class_power_watts', 'Known power by class.', [
      [{ class: 'mining' }, view.totals.miningWatts],
      [{ class: 'ai' }, view.totals.aiWatts],
      ...(view.totals.otherWatts === null
        ? []
        : [[{ class: 'other' }, view.totals.otherWatts] satisfies Sample]),
    ]);
    out.gauge('switchyard_hashrate_hashes_per_second', 'Hash rate of all miners that answer.', [
      [{}, view.totals.hashrateThs * 1e12],
    ]);
    const devices: Sample[] = [];
    for (const [kind, counts] of [
      ['miner', view.totals.miners],
      ['gpu-node', view.totals.gpuNodes],
    ] as const) {
      for (const state of ['configured', 'present', 'absent', 'working', 'asleep', 'held'] as const) {
        devices.push([{ kind, state }, counts[state]]);
      }
    }
    out.gauge('switchyard_devices', 'Devices by kind and state.', devices);
    const severities = ['critical', 'major', 'minor', 'info'] as const;
    out.gauge(
      'switchyard_alarms',
      'Active alarms by severity.',
      severities.map((severity) => [
        { severity },
        view.alarms.filter((alarm) => alarm.severity === severity).length,
      ]),
    );
    out.gauge('switchyard_mode', 'Mode of the agent (the one that is 1).', [[{ mode: view.mode }, 1]]);
  }
  out.counter('switchyard_cycles_total', 'Control cycles run.', counters.cycles);
  out.counter(
    'switchyard_cycles_skipped_total',
    'Control cycles left out because the one before was still running.',
    counters.cyclesSkipped,
  );
  out.gauge('switchyard_cycle_seconds', 'Length of the last control cycle.', [
    [{}, counters.lastCycleMs / 1000],
  ]);
  out.counter('switchyard_reads_total', 'Device and meter reads.', counters.reads);
  out.counter('switchyard_read_failures_total', 'Reads that failed.', counters.readFailures);
  out.gauge(
    'switchyard_read_lateness_seconds',
    'Worst delay of a healthy read in the last health interval.',
    [[{}, counters.worstReadLatenessMs / 1000]],
  );
  out.counter('switchyard_commands_total', 'Commands sent to devices.', counters.commands);
  const link = source.link();
  if (link !== null) {
    out.gauge('switchyard_mqtt_connected', 'Whether the broker is connected.', [
      [{}, link.connected ? 1 : 0],
    ]);
    out.gauge('switchyard_mqtt_queued_messages', 'Messages waiting for the broker.', [[{}, link.queued]]);
    out.counter('switchyard_mqtt_sent_total', 'Messages acknowledged by the broker.', link.sent);
    out.counter('switchyard_mqtt_dropped_total', 'Messages dropped for lack of room.', link.dropped);
  }
  const optional = (name: string, help: string, value: number | null) => {
    if (value !== null) out.gauge(name, help, [[{}, value]]);
  };
  optional(
    'switchyard_host_temperature_celsius',
    'Hottest thermal zone of the gateway.',
    host.temperatureCelsius,
  );
  optional('switchyard_host_disk_free_bytes', 'Free space where the state lies.', host.diskFreeBytes);
  optional(
    'switchyard_host_memory_available_bytes',
    'Available memory of the gateway.',
    host.memoryAvailableBytes,
  );
  optional('switchyard_process_resident_bytes', 'Resident memory of the agent.', host.process.residentBytes);
  optional('switchyard_process_open_files', 'Open file descriptors of the agent.', host.process.openFiles);
  optional(
    'switchyard_process_loop_delay_seconds',
    'Event-loop delay, 99th percentile.',
    host.process.loopDelayP99Ms / 1000,
  );
  return out.text();
}

type Sample = [Readonly<Record<string, string>>, number];

class MetricText {
  private readonly lines: string[] = [];

  gauge(name: string, help: string, samples: readonly Sample[]): void {
    if (samples.length === 0) return;
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`);
    for (const [labels, value] of samples) this.lines.push(`${name}${renderLabels(labels)} ${value}`);
  }

  counter(name: string, help: string, value: number): void {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`, `${name} ${value}`);
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(
    ([key, value]) =>
      `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}
