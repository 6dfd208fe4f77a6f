/** Codes of a closing (RFC 6455, 7.4.1), as far as this library says them. */
export const NORMAL = 1000;
export const GOING_AWAY = 1001;
export const PROTOCOL_ERROR = 1002;
/** The peer's Close frame had no code; never sent. */
export const NO_CODE = 1005;
/** There was no Close frame; never sent. */
export const ABNORMAL = 1006;
export const INVALID_DATA = 1007;
export const POLICY = 1008;
export const TOO_BIG = 1009;
export const INTERNAL_ERROR = 1011;

/** Bytes a control frame carries at most (RFC 6455, 5.5). */
export const MAX_CONTROL = 125;

/** Whether a Close frame may carry this code (RFC 6455, 7.4). */
export function isSendableCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== NO_CODE &&
    code !== ABNORMAL) || (code >= 3000 && code <= 4999);
}

const encoder = new TextEncoder();

/** The payload of a Close frame; refuses what may not be in one. */
export function closePayload(code: number, reason: string): Uint8Array {
  if (!Number.isInteger(code) || !isSendableCode(code)) {
    throw new RangeError(
      `Cannot close: the code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999: ${code}`,
    );
  }
  if (typeof reason !== "string") {
    throw new TypeError(`Cannot close: the reason must be a string: ${reason}`);
  }
  const text = encoder.encode(reason);
  if (text.byteLength > MAX_CONTROL - 2) {
    throw new RangeError(
      `Cannot close: the reason may have ${
        MAX_CONTROL - 2
      } bytes of UTF-8: ${text.byteLength}`,
    );
  }
  const payload = new Uint8Array(2 + text.byteLength);
  payload[0] = code >> 8;
  payload[1] = code;
  payload.set(text, 2);
  return payload;
}
