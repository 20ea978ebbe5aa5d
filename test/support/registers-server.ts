import type { ModbusPeer } from './modbus-peer.ts';
import { mbap, modbusPeer, readPdu } from './modbus-peer.ts';

/** Registers by function code and first address, as hex words. */
export type RecordedRegisters = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** A Modbus TCP server that holds exactly the recorded registers; any other address is exception 2. */
export async function serveRegisters(
  recorded: RecordedRegisters,
  unit = 1,
): Promise<ModbusPeer & { readonly requests: readonly string[] }> {
  const images = new Map<number, Map<number, number>>();
  for (const [code, runs] of Object.entries(recorded)) {
    const image = new Map<number, number>();
    for (const [address, words] of Object.entries(runs)) {
      words.split(' ').forEach((word, index) => {
        image.set(Number(address) + index, Number.parseInt(word, 16));
      });
    }
    images.set(Number(code), image);
  }
  const requests: string[] = [];
  const peer = await modbusPeer('mbap', (request) => {
    requests.push(`${request.functionCode}:${request.address}+${request.count}`);
    const image = images.get(request.functionCode);
    const words = Array.from({ length: request.count }, (_, index) => image?.get(request.address + index));
    const exception = image === undefined ? 1 : words.includes(undefined) || request.unit !== unit ? 2 : 0;
    const pdu =
      exception === 0
        ? readPdu(request.functionCode, words.map(Number))
        : Buffer.from([request.functionCode | 0x80, exception]);
    request.socket.write(mbap(request.transactionId, request.unit, pdu));
  });
  return Object.assign(peer, { requests });
}
