import { el, fillCells, replaceWhen, syncList, tableRow } from './dom.js';
import { formatAge, formatNumber, formatTime, formatWatts, isOld, plural, UNKNOWN, words } from './format.js';

// Behind a limit: its devices, page by page. Behind a device: readings, commands and why.

export const ROWS_PER_PAGE = 25;

function stateOf(row) {
  if (row.inventory === 'expected') return 'not seen yet';
  if (row.inventory !== 'present') return row.inventory;
  return row.state === null ? 'no reading' : words(row.state);
}

/** The rows of one page of devices. */
export function renderDeviceRows(body, rows) {
  syncList(
    body,
    rows,
    (row) => row.id,
    (row) => {
      const line = tableRow(6);
      line.firstChild.append(el('a', { href: `#/device/${encodeURIComponent(row.id)}` }));
      return line;
    },
    (line, row) => {
      const old = isOld(row.quality) || row.inventory === 'absent';
      line.className = old ? 'old' : '';
      line.title = row.problem ?? '';
      const work =
        row.kind === 'miner'
          ? formatNumber(row.hashrateThs, 0, 'TH/s')
          : formatNumber(row.utilizationPercent, 0, '% busy');
      const problem = row.problem !== null;
      fillCells(line, [
        row.id,
        [problem ? `▲ ${stateOf(row)}` : stateOf(row), problem ? 'bad' : ''],
        [`${row.powerSource === 'estimated' ? '≈' : ''}${formatWatts(row.powerWatts)}`, 'number'],
        [work, 'number wide'],
        [formatNumber(row.temperatureCelsius, 0, '°C'), 'number wide'],
        [old ? `${formatAge(row.ageMs)} old` : formatAge(row.ageMs), 'number wide'],
      ]);
    },
  );
}

function facts(pairs, name = '') {
  return el(
    'dl',
    { class: `facts ${name}` },
    pairs
      .filter(([, text]) => text !== null && text !== undefined && text !== '')
      .map(([name, text]) => el('div', {}, el('dt', { text: name }), el('dd', { text }))),
  );
}

function table(caption, heads, rows) {
  if (rows.length === 0) return null;
  const cell = (text, index) =>
    el(index === 0 ? 'th' : 'td', {
      scope: index === 0 ? 'row' : null,
      class: index > 0 ? 'number' : null,
      text,
    });
  return el(
    'div',
    { class: 'scroll' },
    el(
      'table',
      {},
      el('caption', { text: caption }),
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          heads.map((text, index) => el('th', { scope: 'col', class: index > 0 ? 'number' : null, text })),
        ),
      ),
      el(
        'tbody',
        {},
        rows.map((cells) => el('tr', {}, cells.map(cell))),
      ),
    ),
  );
}

function fans(rpm) {
  if (rpm.length === 0) return UNKNOWN;
  const [least, most] = [Math.min(...rpm), Math.max(...rpm)];
  const range = least === most ? formatNumber(most) : `${formatNumber(least)} to ${formatNumber(most)}`;
  return `${rpm.length} at ${range} rpm`;
}

function minerFacts(reading) {
  const limit = reading.control?.powerLimit;
  return [
    ['State', words(reading.state)],
    [
      'Power',
      `${formatWatts(reading.powerWatts)}${reading.powerSource === 'estimated' ? ' (estimated)' : ''}`,
    ],
    ['Power limit', formatWatts(reading.powerLimitWatts)],
    [
      'Hashrate',
      `${formatNumber(reading.hashrateThs, 1, 'TH/s')} of ${formatNumber(reading.nominalHashrateThs, 1, 'TH/s')}`,
    ],
    ['Efficiency', formatNumber(reading.efficiencyJoulesPerTh, 1, 'J/TH')],
    ['Rejected shares', formatNumber(reading.rejectedPercent, 1, '%')],
    ['Chips', formatNumber(reading.chipTemperatureCelsius, 0, '°C')],
    ['Fans', fans(reading.fanRpm)],
    ['Running for', reading.uptimeSeconds === null ? UNKNOWN : formatAge(reading.uptimeSeconds * 1000)],
    [
      'Can be set to',
      limit
        ? `${formatWatts(limit.minWatts)} to ${formatWatts(limit.maxWatts)} (${limit.kind})`
        : reading.control?.sleep
          ? 'sleep and work'
          : 'nothing',
    ],
  ];
}

function gpuFacts(reading, device) {
  const sick = reading.gpus.filter((gpu) => gpu.state !== 'ok').length;
  return [
    [
      'State',
      sick === 0
        ? `${plural(reading.gpus.length, 'GPU')} read`
        : `${sick} of ${reading.gpus.length} GPUs cannot be read`,
    ],
    [
      'GPU boards',
      reading.powerWatts === null
        ? `at least ${formatWatts(reading.knownPowerWatts)}`
        : formatWatts(reading.powerWatts),
    ],
    ['Rest of the node', device.hostWatts === null ? UNKNOWN : `at most ${formatWatts(device.hostWatts)}`],
    ['Nameplate', formatWatts(device.nameplateWatts)],
    ['Driver', reading.driverVersion ?? UNKNOWN],
    ['Read by', reading.source],
  ];
}

function boards(reading) {
  return table(
    'Hash boards',
    ['Board', 'Hashrate', 'Chips', 'Alive'],
    (reading.boards ?? []).map((board) => [
      String(board.index),
      formatNumber(board.hashrateThs, 1, 'TH/s'),
      formatNumber(board.chipTemperatureCelsius, 0, '°C'),
      `${formatNumber(board.chipsAlive)} of ${formatNumber(board.chips)}`,
    ]),
  );
}

function gpus(reading) {
  return table(
    'GPUs',
    ['GPU', 'Power', 'Cap', 'Busy', 'Temp.'],
    reading.gpus.map((gpu) => [
      gpu.state === 'ok' ? `${gpu.index ?? UNKNOWN}` : `▲ ${gpu.index ?? UNKNOWN} ${gpu.state}`,
      formatWatts(gpu.powerWatts),
      formatWatts(gpu.enforcedLimitWatts),
      formatNumber(gpu.utilizationPercent, 0, '%'),
      formatNumber(gpu.temperatureCelsius, 0, '°C'),
    ]),
  );
}

function pools(reading) {
  return table(
    'Pools',
    ['Pool', 'State'],
    (reading.pools ?? []).map((pool) => [pool.url, pool.status]),
  );
}

function commandItem(command) {
  const { sent, evidence } = command;
  const answer =
    sent === null
      ? 'not sent yet'
      : sent.failure !== null
        ? `failed: ${sent.failure}`
        : sent.acknowledged === true
          ? `sent ${formatTime(sent.ts)}, acknowledged`
          : `sent ${formatTime(sent.ts)}, no answer`;
  return el(
    'li',
    {},
    el('strong', {
      text: `${formatTime(command.ts, Date.now())} ${command.fromPointId} → ${command.pointId} (${formatWatts(command.watts)})`,
    }),
    el('p', { text: `Why: ${command.why}` }),
    el('p', {
      class: 'quiet',
      text: `${answer}; ${evidence === null ? 'not proved by a reading yet' : `proved ${formatTime(evidence.ts)}: ${evidence.text}`}`,
    }),
  );
}

/** The sentences of an explanation, each on its line. */
export function renderWhy(list, explained) {
  const sentences = explained?.sentences ?? [];
  syncList(
    list,
    sentences.map((text, index) => ({ text, index })),
    ({ index }) => index,
    () => el('li'),
    (item, { text }) => {
      if (item.textContent !== text) item.textContent = text;
    },
  );
}

/** Everything known of one device. */
export function renderDevice(host, device, commands, explained) {
  if (device === null) {
    replaceWhen(host, 'none', () => el('p', { text: 'There is no device of that name.' }));
    return;
  }
  const { reading } = device;
  // Age alone changes each second: it has its own element, so that the rest is only made anew with a reading.
  const key = JSON.stringify([reading, device.inventory, device.failure, device.quality, commands]);
  replaceWhen(host, key, () => [
    el('p', { class: 'age' }),
    device.failure === null
      ? null
      : el('p', {
          class: 'bad',
          text: `▲ Does not answer: ${device.failure.message}. ${device.failure.hint ?? ''}`,
        }),
    ...(reading?.errors ?? []).map((fault) =>
      el('p', { class: 'bad', text: `▲ ${fault.message} (${fault.code})` }),
    ),
    facts([
      ...(reading === null
        ? [['State', 'no reading']]
        : reading.kind === 'miner'
          ? minerFacts(reading)
          : gpuFacts(reading, device)),
      ['Inventory', words(device.inventory)],
    ]),
    el('h3', { text: 'Why' }),
    el('ul', { class: 'why' }),
    el('h3', { text: 'Commands, newest first' }),
    commands.length === 0
      ? el('p', { class: 'quiet', text: 'The agent has not commanded it yet.' })
      : el('ul', { class: 'plain' }, [...commands].reverse().slice(0, 10).map(commandItem)),
    reading === null ? null : reading.kind === 'miner' ? boards(reading) : gpus(reading),
    reading?.kind === 'miner' ? pools(reading) : null,
    el('h3', { text: 'What it is' }),
    facts(
      [
        [
          'Model',
          (reading?.kind === 'miner' ? reading.model : reading?.gpus[0]?.name) ?? device.modelName ?? UNKNOWN,
        ],
        [
          'Firmware',
          reading?.kind === 'miner' ? `${reading.firmware} ${reading.firmwareVersion ?? ''}` : null,
        ],
        ['Address', device.address],
        ['MAC', device.identity?.macAddress],
        ['Serial number', device.identity?.serialNumber],
        ['Known by', device.identity ? `${device.identity.basis}` : UNKNOWN],
        ['Tenant', device.tenant],
        ['Tags', (device.tags ?? []).join(', ')],
        [
          'Place',
          Object.entries(device.location ?? {})
            .map(([name, value]) => `${name} ${value}`)
            .join(', '),
        ],
      ],
      'broad',
    ),
  ]);
  renderWhy(host.querySelector('.why'), explained);
  const age = host.querySelector('.age');
  const old = isOld(device.quality);
  host.classList.toggle('old-reading', old);
  const text =
    device.ageMs === null
      ? 'No reading yet.'
      : `${old ? `Old reading (${device.quality}): ` : 'Read '}${formatAge(device.ageMs)} ago.`;
  if (age.textContent !== text) age.textContent = text;
}
