import * as h2 from "./_h2_frames.ts";
import { H2Error, protocolError } from "./_h2_frames.ts";

/** What the peer has told of itself (RFC 9113, 6.5.2). */
export class PeerSettings {
  /** Streams of ours at a time. */
  maxStreams = Infinity;
  /** Bytes of a section of fields. */
  maxHeaderList = Infinity;
  /** Whether an extended CONNECT is understood (RFC 8441, 3). */
  extendedConnect = false;

  /** Takes one in; one that is not known is ignored. */
  set(setting: number, value: number, role: "client" | "server"): void {
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
