/**
 * How many bytes at the end begin a character that can still become whole
 * (table 3-7 of the Unicode standard). None when what is there is bad.
 */
export function openEnd(bytes: Uint8Array): number {
  const size = bytes.byteLength;
  for (let count = 1; count <= 3 && count <= size; count++) {
    const lead = bytes[size - count];
    if (lead < 0x80) return 0;
    if (lead < 0xc0) continue;
    const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || count >= length) return 0;
    if (count === 1) return 1;
    const second = bytes[size - count + 1];
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    return second >= least && second <= most ? count : 0;
  }
  return 0;
}
