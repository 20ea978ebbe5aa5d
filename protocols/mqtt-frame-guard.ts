/**
 * Watches the bytes of an MQTT connection in front of the parser and says when a packet announces more than it
 * may have: the parser of MQTT.js would collect up to 256 MB. Source: MQTT 3.1.1, 2.2.3 Remaining Length.
 */
export class MqttFrameGuard {
  private readonly maximumBytes: number;
  /** Bytes of the present packet's body still to come; `null` while its header is read. */
  private bodyLeft = 0;
  private header: { value: number; shift: number } | null = null;
  private begun = false;

  constructor(maximumBytes: number) {
    this.maximumBytes = maximumBytes;
  }

  /** Takes bytes as they come. False: a packet is larger than allowed, or its length is malformed. */
  feed(bytes: Uint8Array): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.bodyLeft > 0) {
        const step = Math.min(this.bodyLeft, bytes.length - at);
        this.bodyLeft -= step;
        at += step;
        continue;
      }
      if (!this.begun) {
        // Type and flags: not ours to judge.
        this.begun = true;
        this.header = { value: 0, shift: 0 };
        at += 1;
        continue;
      }
      const header = this.header ?? { value: 0, shift: 0 };
      const byte = bytes[at]!;
      at += 1;
      if (header.shift > 21) return false;
      header.value += (byte & 0x7f) * 2 ** header.shift;
      header.shift += 7;
      if ((byte & 0x80) !== 0) continue;
      if (header.value > this.maximumBytes) return false;
      this.bodyLeft = header.value;
      this.begun = false;
    }
    return true;
  }
}
