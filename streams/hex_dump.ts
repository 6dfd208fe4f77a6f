/**
 * Bytes as people read them: offset, sixteen bytes in hex, and as ASCII.
 *
 * @example
 * ```ts
 * import { hexDump } from "@sluice/net/streams";
 *
 * console.log(hexDump(new TextEncoder().encode("GET / HTTP/1.1\r\n")));
 * ```
 */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let offset = 0; offset < bytes.byteLength; offset += 16) {
    let hex = "";
    let ascii = "";
    for (let i = 0; i < 16; i++) {
      if (i === 8) hex += " ";
      const byte = bytes[offset + i];
      hex += byte === undefined
        ? "   "
        : ` ${byte.toString(16).padStart(2, "0")}`;
      if (byte !== undefined) {
        ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
      }
    }
    lines.push(`${offset.toString(16).padStart(8, "0")} ${hex}  |${ascii}|`);
  }
  return lines.join("\n");
}
