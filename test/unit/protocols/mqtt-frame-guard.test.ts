import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MqttFrameGuard } from '../../../protocols/mqtt-frame-guard.ts';

/** Remaining Length as MQTT writes it. */
function lengthBytes(length: number): number[] {
  const bytes: number[] = [];
  let rest = length;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return bytes;
}
const packet = (length: number) => [0x30, ...lengthBytes(length), ...new Array<number>(length).fill(0x33)];

describe('the guard in front of the parser', () => {
  it('lets every stream of small packets through, however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(400), { maxLength: 20 }),
        fc.array(fc.nat(90), { maxLength: 60 }),
        (sizes, cuts) => {
          const bytes = Uint8Array.from(sizes.flatMap(packet));
          const guard = new MqttFrameGuard(400);
          let at = 0;
          for (const cut of [...cuts, bytes.length]) {
            expect(guard.feed(bytes.subarray(at, at + cut))).toBe(true);
            at += cut;
          }
        },
      ),
    );
  });

  it('stops a packet by its announced length, wherever the header is cut, before its body comes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(200), { maxLength: 5 }),
        fc.integer({ min: 401, max: 268_435_455 }),
        (sizes, big) => {
          const bytes = [...sizes.flatMap(packet), 0x30, ...lengthBytes(big)];
          const guard = new MqttFrameGuard(400);
          expect(bytes.map((byte) => guard.feed(Uint8Array.of(byte))).at(-1)).toBe(false);
        },
      ),
    );
  });

  it('stops a length that never ends', () => {
    expect(new MqttFrameGuard(400).feed(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0xff, 0xff))).toBe(false);
  });
});
