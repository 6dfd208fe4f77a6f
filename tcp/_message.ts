/** The caller's bytes, not copied; `undefined` when it is no message. */
export function viewOf(message: unknown): Uint8Array | undefined {
  if (message instanceof Uint8Array) return message;
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  if (ArrayBuffer.isView(message)) {
    const { buffer, byteOffset, byteLength } = message;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
  return undefined;
}

export function isShared(bytes: Uint8Array): boolean {
  return typeof SharedArrayBuffer !== "undefined" &&
    bytes.buffer instanceof SharedArrayBuffer;
}

/** The error for what is no message. */
export function noMessage(message: unknown): TypeError {
  return new TypeError(
    `Cannot send: a message is a string or bytes: ${
      message === null ? "null" : typeof message
    }`,
  );
}

/** All the parts in one, of `size` bytes together. */
export function joined(
  parts: readonly Uint8Array[],
  size: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}
