import * as h2 from "./_h2_frames.ts";
import { H2Error, protocolError } from "./_h2_frames.ts";

/** Settings that change what is sent. */
export interface ForSender {
  readonly initialWindow: number | undefined;
  /** All that were named, in order (RFC 7541, 4.2). */
  readonly tableSizes: readonly number[];
}

/** What the peer has told of itself (RFC 9113, 6.5.2). */
export class PeerSettings {
  /** Streams of ours at a time. */
  maxStreams = Infinity;
  /** Bytes of a section of fields. */
  maxHeaderList = Infinity;
  /** Whether an extended CONNECT is understood (RFC 8441, 3). */
  extendedConnect = false;

  /** Takes in the payload of SETTINGS; gives what is for the sender. */
  take(payload: Uint8Array, role: "client" | "server"): ForSender {
    let initialWindow: number | undefined;
    const tableSizes: number[] = [];
    for (let at = 0; at < payload.byteLength; at += 6) {
      const setting = (payload[at] << 8) | payload[at + 1];
      const value = h2.read32(payload, at + 2);
      this.#set(setting, value, role);
      // The last one counts: each would be one more look at every stream.
      if (setting === h2.INITIAL_WINDOW_SIZE) initialWindow = value;
      else if (setting === h2.HEADER_TABLE_SIZE) tableSizes.push(value);
    }
    return { initialWindow, tableSizes };
  }

  /** One that is not known is ignored. */
  #set(setting: number, value: number, role: "client" | "server"): void {
    switch (setting) {
      case h2.ENABLE_PUSH:
        if (value > 1 || (value === 1 && role === "client")) {
          throw protocolError(`SETTINGS_ENABLE_PUSH: ${value}`);
        }
        break;
      case h2.MAX_CONCURRENT_STREAMS:
        this.maxStreams = value;
        break;
      case h2.INITIAL_WINDOW_SIZE:
        if (value > h2.MAX_WINDOW) {
          throw new H2Error(
            h2.FLOW_CONTROL_ERROR,
            `Cannot go on: SETTINGS_INITIAL_WINDOW_SIZE: ${value}`,
          );
        }
        break;
      case h2.MAX_FRAME_SIZE:
        // Larger ones than 16 KiB are not sent: others wait behind them.
        if (value < h2.FRAME_SIZE || value > 0xffffff) {
          throw protocolError(`SETTINGS_MAX_FRAME_SIZE: ${value}`);
        }
        break;
      case h2.MAX_HEADER_LIST_SIZE:
        this.maxHeaderList = value;
        break;
      case h2.ENABLE_CONNECT_PROTOCOL:
        // RFC 8441, 3: once it is on it stays so.
        if (value > 1 || (value === 0 && this.extendedConnect)) {
          throw protocolError(`SETTINGS_ENABLE_CONNECT_PROTOCOL: ${value}`);
        }
        this.extendedConnect = value === 1;
        break;
      case h2.NO_RFC7540_PRIORITIES:
        if (value > 1) {
          throw protocolError(`SETTINGS_NO_RFC7540_PRIORITIES: ${value}`);
        }
    }
  }
}
