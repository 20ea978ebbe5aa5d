import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, complaintsOf, openBrowser, type RunningDemo, startDemo } from '../support/browser.ts';

const installed = existsSync(CHROMIUM);
const publisher = spawnSync('mosquitto_pub', ['--help']).error === undefined;
const name = `the page in Chromium${installed ? '' : ` (skipped: ${CHROMIUM} is not installed)`}`;

/** What the diagram says of each limit, beside what the agent sent in the event that it drew. */
const COMPARE = `(async () => {
  const { formatWatts } = await import('/format.js');
  const stream = new EventSource('/events');
  const event = await new Promise((resolve) => stream.addEventListener('message', (message) => resolve(JSON.parse(message.data))));
  stream.close();
  await new Promise((resolve) => setTimeout(resolve, 150));
  const drawn = [...document.querySelectorAll('#diagram a.node')].map((node) => [
    node.querySelector('.name').textContent, node.querySelector('.figure').textContent]);
  const sent = event.limits.map((limit) => [limit.id, formatWatts(limit.powerWatts) + ' of ' + formatWatts(limit.limitWatts)]);
  const sinks = [...document.querySelectorAll('#diagram a.sink .name')].map((text) => text.textContent);
  const { miningWatts, aiWatts } = event.totals;
  return { drawn, sent, sinks, totals: ['Mining ' + formatWatts(miningWatts), 'AI ' + formatWatts(aiWatts)] };
})()`;

describe.skipIf(!installed)(name, () => {
  let demo: RunningDemo;
  let browser: Browser;
  let page: Page;
  let complaints: string[];
  const shots = mkdtempSync(join(tmpdir(), 'switchyard-page-'));

  beforeAll(async () => {
    demo = await startDemo(30, 2);
    browser = await openBrowser();
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    complaints = await complaintsOf(page);
    await page.goto(demo.url);
    await page.waitForSelector('#content:not([hidden])');
  });

  afterAll(async () => {
    await browser?.close();
    await demo?.stop();
  });

  const text = (selector: string) => page.locator(selector).innerText();
  /** Waits until an expression is true in the page. (Playwright's own wait needs eval, which the policy forbids.) */
  const until = (expression: string, timeout = 60_000) =>
    expect.poll(() => page.evaluate(expression), { timeout }).toBe(true);

  test('draws the watts that the agent sends', async () => {
    // An event may come between reading it and reading the drawing: then the next one counts.
    await expect
      .poll(
        async () => {
          const { drawn, sent, sinks, totals } = (await page.evaluate(COMPARE)) as Record<string, unknown>;
          return JSON.stringify([drawn, sinks]) === JSON.stringify([sent, totals])
            ? 'equal'
            : { drawn, sent, sinks, totals };
        },
        { timeout: 60_000 },
      )
      .toBe('equal');
    expect(await page.locator('#diagram a.node').count()).toBe(5);
    expect(await text('#verdict')).toMatch(/OK.*30 of 30 miners and 2 of 2 GPU nodes answer/s);
  });

  test('is walked by keyboard: diagram, limit, device, and back up', async () => {
    await page.keyboard.press('Tab');
    const focused = () =>
      page.evaluate(
        `document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? ''`,
      );
    for (let steps = 0; steps < 12 && !String(await focused()).startsWith('feeder-a:'); steps += 1)
      await page.keyboard.press('Tab');
    expect(await focused()).toMatch(/^feeder-a: .* of .* left, measured$/);
    await page.keyboard.press('Enter');
    await until(`document.activeElement.id === 'focus-title'`);
    expect(await text('#focus-title')).toBe('feeder-a');
    await page.waitForSelector('#devices a');
    for (let steps = 0; steps < 20 && !/^hall-a/.test(String(await focused())); steps += 1)
      await page.keyboard.press('Tab');
    const device = String(await focused());
    expect(device).toMatch(/^hall-a-0/);
    await page.keyboard.press('Enter');
    await until(`document.querySelector('#device h3') !== null`);
    expect(await text('#focus-title')).toBe(device);
    expect(await text('#device')).toMatch(/State\s+hashing/);
    await page.keyboard.press('Escape');
    await until(`location.hash === '#/limit/feeder-a'`);
    await page.keyboard.press('Escape');
    await until(`location.hash === '#/limit/grid'`);
    // The page is drawn by the event that the new hash brings.
    await until(`document.querySelector('#focus-title').textContent.trim() === 'grid'`);
  });

  test('shows an order of the local operator taking effect, and why a miner sleeps', async () => {
    const before = (await (await fetch(`${demo.url}api/v1/site`)).json()) as {
      totals: { powerWatts: number };
    };
    const watts = Math.round(before.totals.powerWatts * 0.7);
    const { code, said } = await demo.command(
      'limit',
      'set',
      'grid',
      `${watts}W`,
      '--within',
      '30s',
      '--for',
      '10min',
    );
    expect(said).toContain('grid is limited');
    expect(code).toBe(0);
    await until(`/grid limited to/.test(document.getElementById('in-force').textContent)`);
    expect(await text('#in-force')).toMatch(
      /the local operator, priority 100.*until \d\d:\d\d:\d\d.*let go by ramp/s,
    );
    await page.screenshot({ path: join(shots, 'coming-down-1280.png') });
    await until(`/Curtailed/.test(document.getElementById('verdict').textContent)`);
    expect(await text('#verdict')).toMatch(/below the .* limit of grid \(ordered by the local operator\)/);
    await until(`/down by/.test(document.getElementById('decisions').textContent)`);
    await page.locator('#show').selectOption('asleep');
    await until(`/^1–\\d+ of \\d+ devices$/.test(document.getElementById('device-count').textContent)`);
    await until(
      `[...document.querySelectorAll('#devices tr')].every((row) => /sleeping/.test(row.textContent))`,
    );
    await page.locator('#devices a').first().click();
    await until(`/Why:/.test(document.getElementById('device').textContent)`);
    expect(await text('#device')).toMatch(/→ sleep.*Why: .*grid.*acknowledged/s);
  });

  test.skipIf(!publisher)(
    `shows an order over MQTT${publisher ? '' : ' (skipped: mosquitto_pub is not installed)'}`,
    async () => {
      const id = randomUUID();
      const order = {
        v: 1,
        id,
        site: 'demo',
        type: 'set_limit',
        issuer: 'demo',
        priority: 70,
        issued: Date.now(),
        expires: Date.now() + 30_000,
        seq: 1,
        lease: { seconds: 300, onExpiry: 'release' },
        args: { limit: 'feeder-b', watts: 25_000, withinMs: 30_000 },
      };
      const { port } = demo.broker;
      const topic = `switchyard/v1/demo/cmd/req/${id}`;
      const sent = spawnSync('mosquitto_pub', [
        '-p',
        port,
        '-q',
        '1',
        '-t',
        topic,
        '-m',
        JSON.stringify(order),
      ]);
      expect(sent.status).toBe(0);
      await until(`/feeder-b limited to 25\\.0\\skW/.test(document.getElementById('in-force').textContent)`);
      expect(await text('#in-force')).toMatch(/demo, priority 70/);
    },
  );

  test.each([360, 1280])('nothing sticks out at %i px, light and dark', async (width) => {
    await page.setViewportSize({ width, height: 900 });
    await page.evaluate(`location.hash = '#/'`);
    await until(`!document.getElementById('limit-view').hidden`);
    await page.locator('#show').selectOption('all');
    for (const [place, hash] of [
      ['site', '#/'],
      ['limit', '#/limit/feeder-g'],
      ['device', '#/device/gpu-1'],
    ]) {
      await page.evaluate(`location.hash = '${hash}'`);
      if (place === 'device') await until(`/GPUs/.test(document.getElementById('device').textContent)`);
      else
        await until(
          `document.querySelectorAll('#devices tr').length > 0 && document.querySelector('#plot .limit') !== null`,
        );
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({
          path: join(shots, `${place}-${width}-${colorScheme}.png`),
          fullPage: true,
        });
      }
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
      const cut = await page.evaluate(`[...document.querySelectorAll('#diagram text')].filter((text) => {
        const box = text.getBBox();
        return box.x < -1 || box.x + box.width > document.getElementById('diagram').clientWidth + 1;
      }).map((text) => text.textContent)`);
      expect(cut).toEqual([]);
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.evaluate(`location.hash = '#/'`);
  });

  test('nothing so far went wrong on the console or against the content policy', () => {
    expect(complaints).toEqual([]);
  });

  test('shows readings that grow old as old', async () => {
    process.kill(demo.simulatorPid, 'SIGSTOP');
    try {
      await until(
        `/stale/.test(document.querySelector('#diagram a.node').textContent) && /Blind/.test(document.getElementById('verdict').textContent)`,
      );
      expect(await page.locator('#diagram a.node.old').count()).toBe(5);
      expect(await text('#verdict')).toMatch(/The draw of grid is .* old/);
      await page.evaluate('scrollTo(0, 0)');
      await page.screenshot({ path: join(shots, 'stale-1280.png') });
    } finally {
      process.kill(demo.simulatorPid, 'SIGCONT');
    }
    await until(`document.querySelectorAll('#diagram a.node.old').length === 0`);
  });

  test('says since when the agent has not been heard', async () => {
    await demo.stop();
    await until(`/No contact/.test(document.getElementById('verdict').textContent)`);
    expect(await text('#verdict')).toMatch(
      /Nothing has come from the agent since \d\d:\d\d:\d\d \(.*\ss\)\. The figures below are old\./,
    );
    expect(await page.evaluate(`document.body.classList.contains('lost')`)).toBe(true);
    await page.screenshot({ path: join(shots, 'lost-1280.png') });
  });
});
