import { H2Error, H2StreamError, protocolError, unpad } from "./_h2_frames.ts";
import * as h2 from "./_h2_frames.ts";
import { BlockReader } from "./_h2_blocks.ts";
import type { FieldBlock } from "./_h2_blocks.ts";
import type { Fields } from "./_h1_types.ts";
import { Guard } from "./_h2_guard.ts";
import { NO_PRIORITY, parsePriority } from "./_h2_priority.ts";
import type { Priority } from "./_h2_priority.ts";
import { PeerSettings } from "./_h2_settings.ts";
import { FLOOD } from "./_h2_types.ts";
import type { SessionOptions, SessionOwner } from "./_h2_types.ts";
import { H2Sender } from "./_h2_sender.ts";
import { H2Stream } from "./_h2_stream.ts";
import type { StreamListener } from "./_h2_stream.ts";
import { ReceiveWindows } from "./_h2_windows.ts";
import { HpackError } from "./_hpack_decoder.ts";
import type { Writer } from "../tcp/_writer.ts";

/** Priorities of streams that have not begun, at most. */
const MAX_EARLY = 64;

/**
 * A connection of HTTP/2 (RFC 9113), of either role: frames, header blocks,
 * the states of streams, flow control. Pure: bytes in by `data`, bytes out
 * through the writer, no timers.
 */
export class H2Session {
  /** Streams that are open, by their number. */
  readonly streams = new Map<number, H2Stream>();
  /** What the peer says of itself. */
  readonly peer = new PeerSettings();
  /** The peer's settings have come. */
  ready = false;
  /** Over: an error of the connection. */
  error: H2Error | undefined;
  /** The last stream that the peer opened. */
  lastPeer = 0;
  /** Bytes of DATA that came; it tells whether anything moves. */
  dataBytes = 0;
  /** Frames that came whole, with all that belongs to them. */
  units = 0;
  readonly #options: SessionOptions;
  readonly #owner: SessionOwner;
  readonly sender: H2Sender;
  readonly #reader: h2.FrameReader;
  readonly #blocks: BlockReader;
  /** What the peer may send. */
  readonly windows: ReceiveWindows;
  readonly #wasReset = new h2.ResetStreams();
  readonly #skipped = new h2.SkippedStreams();
  readonly #early = new Map<number, Priority>();
  readonly #resets: Guard;
  readonly #controls: Guard;
  readonly #idlers = new Guard("frames that do nothing", 2 * FLOOD);
  readonly #preface: h2.PrefaceReader | undefined;
  /** Number of the last stream that is taken; set by GOAWAY. */
  #accepted = Infinity;
  #nextId = 1;
  #probing = false;

  constructor(writer: Writer, options: SessionOptions, owner: SessionOwner) {
    this.sender = new H2Sender(writer, options.tally);
    this.#options = options;
    this.#owner = owner;
    if (options.role === "server") this.#preface = new h2.PrefaceReader();
    this.#reader = new h2.FrameReader((type, flags, id, payload) =>
      this.#onFrame(type, flags, id, payload)
    );
    this.#resets = new Guard("streams were reset", options.maxResets);
    this.#controls = new Guard("questions were asked", options.maxControls);
    this.#blocks = new BlockReader(options.header);
    this.windows = new ReceiveWindows(options.window, options.maxWindow);
  }

  /** Says what must be said first (RFC 9113, 3.4). */
  start(): void {
    const { role, streams, header, window } = this.#options;
    const settings: [number, number][] = [
      [h2.INITIAL_WINDOW_SIZE, window],
      [h2.MAX_HEADER_LIST_SIZE, header],
      [h2.NO_RFC7540_PRIORITIES, 1],
    ];
    if (role === "client") {
      this.sender.write(h2.PREFACE);
      settings.push([h2.ENABLE_PUSH, 0]);
    } else {
      settings.push([h2.MAX_CONCURRENT_STREAMS, streams]);
      settings.push([h2.ENABLE_CONNECT_PROTOCOL, 1]);
    }
    this.sender.write(h2.settingsFrame(settings));
    const more = this.windows.session - h2.DEFAULT_WINDOW;
    this.sender.number(h2.WINDOW_UPDATE, 0, more);
  }

  /** What has begun to come and is not whole, if anything. */
  get within(): "head" | "data" | undefined {
    if (!this.ready || this.#blocks.within !== 0) return "head";
    const type = this.#reader.within;
    return type === undefined ? undefined : type === h2.DATA ? "data" : "head";
  }

  /** Takes in what came. */
  data(chunk: Uint8Array): void {
    if (this.error !== undefined) return;
    try {
      const rest = this.#preface === undefined || this.#preface.done
        ? chunk
        : this.#preface.feed(chunk);
      if (rest.byteLength > 0) this.#reader.feed(rest);
    } catch (error) {
      this.fail(
        error instanceof H2Error
          ? error
          : error instanceof HpackError
          ? new H2Error(h2.COMPRESSION_ERROR, error.message)
          : new H2Error(h2.INTERNAL_ERROR, String(error)),
      );
      if (!(error instanceof H2Error || error instanceof HpackError)) {
        throw error;
      }
    }
  }

  /** An error of the connection: tells the peer, and whoever has a stream. */
  fail(error: H2Error): void {
    if (this.error !== undefined) return;
    this.error = error;
    this.#reader.stop();
    this.sender.stop();
    this.sender.goAway(this.lastPeer, error.h2code, error.message);
    this.abandon(error);
    this.#owner.failed(error);
  }

  /** The connection is lost, or given up: every stream hears of it. */
  abandon(reason: unknown): void {
    for (const stream of [...this.streams.values()]) {
      this.#remove(stream);
      stream.listener.cut(reason);
    }
  }

  // Frames.

  #onFrame(
    type: number,
    flags: number,
    id: number,
    payload: Uint8Array,
  ): void {
    if (!this.ready && (type !== h2.SETTINGS || (flags & h2.ACK) !== 0)) {
      throw protocolError("the first frame is not SETTINGS");
    }
    const { within } = this.#blocks;
    if (within !== 0 && (type !== h2.CONTINUATION || id !== within)) {
      throw protocolError("a header block is interrupted");
    }
    try {
      this.#take(type, flags, id, payload);
    } catch (error) {
      if (!(error instanceof H2StreamError)) throw error;
      this.#refuse(id, error);
    }
    if (this.#blocks.within === 0) this.units++;
  }

  #take(type: number, flags: number, id: number, payload: Uint8Array): void {
    switch (type) {
      case h2.DATA:
        this.#onData(flags, id, payload);
        break;
      case h2.HEADERS:
        if (id === 0) throw protocolError("HEADERS without a stream");
        this.#onBlock(this.#blocks.begin(flags, id, payload));
        break;
      case h2.PRIORITY:
        this.#onPriority(id, payload);
        break;
      case h2.RST_STREAM:
        this.#onReset(id, payload);
        break;
      case h2.SETTINGS:
        this.#onSettings(flags, id, payload);
        break;
      case h2.PUSH_PROMISE:
        throw protocolError("PUSH_PROMISE, which nobody may send");
      case h2.PING:
        this.#onPing(flags, id, payload);
        break;
      case h2.GOAWAY:
        this.#onGoAway(id, payload);
        break;
      case h2.WINDOW_UPDATE:
        this.#onWindowUpdate(id, payload);
        break;
      case h2.CONTINUATION:
        this.#onBlock(this.#blocks.goOn(flags, payload));
        break;
      case h2.PRIORITY_UPDATE:
        this.#onPriorityUpdate(id, payload);
        break;
      default:
        // RFC 9113, 5.5: what is not known is ignored.
        this.#idlers.count();
    }
  }

  /** Whether nobody has begun this stream (RFC 9113, 5.1). */
  #isIdle(id: number): boolean {
    const ours = (id & 1) === (this.#options.role === "client" ? 1 : 0);
    return ours ? id >= this.#nextId || this.#nextId === 1 : id > this.lastPeer;
  }

  /** A frame on a stream that is no more. */
  #onClosed(id: number): void {
    if (this.#isIdle(id) || this.#skipped.has(id)) {
      throw protocolError(`a frame on stream ${id}, which was not begun`);
    }
    if (this.#wasReset.has(id)) return;
    throw new H2Error(
      h2.STREAM_CLOSED,
      `Cannot take a frame: stream ${id} is closed`,
    );
  }

  #onData(flags: number, id: number, payload: Uint8Array): void {
    if (id === 0) throw protocolError("DATA without a stream");
    const size = payload.byteLength;
    this.dataBytes += size;
    if (!this.windows.take(size)) {
      throw new H2Error(
        h2.FLOW_CONTROL_ERROR,
        "Cannot take data: the window of the connection is too small",
      );
    }
    const stream = this.streams.get(id);
    if (stream === undefined || stream.remoteEnded) {
      this.#giveBack(size);
      if (stream === undefined) {
        if (size === 0) this.#idlers.count();
        return this.#onClosed(id);
      }
      throw new H2StreamError(h2.STREAM_CLOSED, `Stream ${id} had ended`);
    }
    stream.held += size;
    stream.receiveWindow -= size;
    if (stream.receiveWindow < 0) {
      throw new H2StreamError(
        h2.FLOW_CONTROL_ERROR,
        "Cannot take data: the window of the stream is too small",
      );
    }
    const data = (flags & h2.PADDED) === 0 ? payload : unpad(payload);
    const ended = (flags & h2.END_STREAM) !== 0;
    if (data.byteLength === 0 && !ended) this.#idlers.count();
    stream.count(data.byteLength);
    if (ended) stream.endRemote();
    if (data.byteLength < size) this.consume(stream, size - data.byteLength);
    if (stream.discarding) this.consume(stream, data.byteLength);
    else if (data.byteLength > 0) stream.hear(data, ended);
    if (!ended || stream.over) return;
    stream.listener.end();
    this.settle(stream);
  }

  #onBlock(block: FieldBlock | undefined): void {
    if (block === undefined) return;
    const { id, fields, ended } = block;
    let stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.#options.role === "client" || !this.#isIdle(id)) {
        this.#onClosed(id);
        return;
      }
      stream = this.#opened(id);
      if (stream === undefined) return;
    } else if (stream.remoteEnded) {
      throw new H2StreamError(h2.STREAM_CLOSED, `Stream ${id} had ended`);
    }
    if (ended) stream.remoteEnded = true;
    stream.listener.fields(fields, ended);
    if (!ended || stream.over) return;
    stream.endRemote();
    this.settle(stream);
  }

  /** The peer opens a stream (RFC 9113, 5.1.1 and 5.1.2). */
  #opened(id: number): H2Stream | undefined {
    if ((id & 1) === 0) throw protocolError(`a request on stream ${id}`);
    this.#skipped.add(this.lastPeer, id);
    this.lastPeer = id;
    const priority = this.#early.get(id) ?? NO_PRIORITY;
    this.#early.delete(id);
    if (id > this.#accepted) {
      this.#wasReset.add(id);
      return undefined;
    }
    const listen = this.streams.size < this.#options.streams
      ? this.#owner.open()
      : undefined;
    if (listen === undefined) {
      throw new H2StreamError(
        h2.REFUSED_STREAM,
        `Cannot take stream ${id}: too many are open`,
      );
    }
    const stream = this.#add(id, listen);
    stream.priority = priority;
    return stream;
  }

  #onPriority(id: number, payload: Uint8Array): void {
    if (id === 0) throw protocolError("PRIORITY without a stream");
    this.#idlers.count();
    if (payload.byteLength !== 5) {
      throw new H2StreamError(h2.FRAME_SIZE_ERROR, "Cannot take PRIORITY");
    }
    // Else it means nothing any more (RFC 9113, 5.3.2).
    if (h2.read31(payload, 0) === id) {
      throw new H2StreamError(
        h2.PROTOCOL_ERROR,
        `Stream ${id} depends on itself`,
      );
    }
  }

  #onPriorityUpdate(id: number, payload: Uint8Array): void {
    if (id !== 0 || this.#options.role === "client") {
      throw protocolError("PRIORITY_UPDATE where it is not allowed");
    }
    if (payload.byteLength < 4) {
      throw new H2Error(h2.FRAME_SIZE_ERROR, "Cannot take PRIORITY_UPDATE");
    }
    this.#idlers.count();
    const of = h2.read31(payload, 0);
    if (of === 0 || (of & 1) === 0) {
      throw protocolError(`PRIORITY_UPDATE of stream ${of}`);
    }
    const text = String.fromCharCode(...payload.subarray(4, 260));
    const priority = parsePriority(text);
    const stream = this.streams.get(of);
    if (stream !== undefined) this.sender.prioritize(stream, priority);
    else if (this.#isIdle(of) && this.#early.size < MAX_EARLY) {
      this.#early.set(of, priority);
    }
  }

  #onReset(id: number, payload: Uint8Array): void {
    if (id === 0) throw protocolError("RST_STREAM without a stream");
    if (payload.byteLength !== 4) {
      throw new H2Error(h2.FRAME_SIZE_ERROR, "Cannot take RST_STREAM");
    }
    if (this.#isIdle(id)) {
      throw protocolError(`RST_STREAM of stream ${id}, which is idle`);
    }
    this.#resets.count();
    const stream = this.streams.get(id);
    if (stream === undefined) return;
    this.#remove(stream);
    const code = h2.read32(payload, 0);
    stream.listener.cut(
      new H2StreamError(
        code,
        `The stream was reset by the peer: ${h2.nameOfCode(code)}`,
        true,
      ),
    );
  }

  #onSettings(flags: number, id: number, payload: Uint8Array): void {
    if (id !== 0) throw protocolError("SETTINGS on a stream");
    if ((flags & h2.ACK) !== 0) {
      if (payload.byteLength > 0) {
        throw new H2Error(h2.FRAME_SIZE_ERROR, "Cannot take SETTINGS");
      }
      return;
    }
    if (payload.byteLength % 6 !== 0) {
      throw new H2Error(h2.FRAME_SIZE_ERROR, "Cannot take SETTINGS");
    }
    this.#controls.count();
    const told = this.peer.take(payload, this.#options.role);
    const { initialWindow } = told;
    if (initialWindow !== undefined) this.#setInitialWindow(initialWindow);
    for (const size of told.tableSizes) this.sender.setTableSize(size);
    this.sender.frame(h2.SETTINGS, h2.ACK, 0, undefined);
    this.ready = true;
    this.#owner.settled();
    this.sender.pump();
  }

  /** RFC 9113, 6.9.2: windows of streams move with it, also below zero. */
  #setInitialWindow(value: number): void {
    const change = value - this.sender.initialWindow;
    this.sender.initialWindow = value;
    for (const stream of this.streams.values()) {
      stream.sendWindow += change;
      if (stream.sendWindow > h2.MAX_WINDOW) throw windowTooLarge(0);
      this.sender.rewindow(stream);
    }
  }

  #onPing(flags: number, id: number, payload: Uint8Array): void {
    if (id !== 0) throw protocolError("PING on a stream");
    if (payload.byteLength !== 8) {
      throw new H2Error(h2.FRAME_SIZE_ERROR, "Cannot take PING");
    }
    if ((flags & h2.ACK) === 0) {
      this.#controls.count();
      this.sender.frame(h2.PING, h2.ACK, 0, payload);
    } else if (payload[0] === h2.PROBE[0] && this.#probing) {
      this.#probing = false;
      this.#grow();
    } else if (payload[0] === h2.QUESTION[0]) this.#owner.ponged();
  }

  #onGoAway(id: number, payload: Uint8Array): void {
    if (id !== 0) throw protocolError("GOAWAY on a stream");
    if (payload.byteLength < 8) {
      throw new H2Error(h2.FRAME_SIZE_ERROR, "Cannot take GOAWAY");
    }
    this.#controls.count();
    this.#owner.goingAway(h2.read31(payload, 0), h2.read32(payload, 4));
  }

  #onWindowUpdate(id: number, payload: Uint8Array): void {
    if (payload.byteLength !== 4) {
      throw new H2Error(h2.FRAME_SIZE_ERROR, "Cannot take WINDOW_UPDATE");
    }
    const more = h2.read31(payload, 0);
    if (id === 0) {
      if (more === 0) throw protocolError("WINDOW_UPDATE of nothing");
      this.sender.window += more;
      if (this.sender.window > h2.MAX_WINDOW) throw windowTooLarge(0);
      this.sender.pump();
      return;
    }
    if (this.#isIdle(id)) {
      throw protocolError(`WINDOW_UPDATE of stream ${id}, which is idle`);
    }
    const stream = this.streams.get(id);
    if (stream === undefined) return;
    if (more === 0) {
      throw new H2StreamError(h2.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing");
    }
    stream.sendWindow += more;
    if (stream.sendWindow > h2.MAX_WINDOW) throw windowTooLarge(id);
    if (stream.queued > 0) this.sender.schedule(stream);
  }

  // Streams.

  /** Opens a stream with the head of a request; for a client. */
  request(
    fields: Fields,
    end: boolean,
    listen: (stream: H2Stream) => StreamListener,
  ): H2Stream {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = this.#add(id, listen);
    stream.sendFields(fields, end);
    return stream;
  }

  /** Whether there are numbers left for streams of ours. */
  get exhausted(): boolean {
    return this.#nextId > h2.MAX_WINDOW;
  }

  #add(id: number, listen: (stream: H2Stream) => StreamListener): H2Stream {
    const stream = new H2Stream(this, id, {
      receive: this.windows.stream,
      send: this.sender.initialWindow,
    }, listen);
    this.streams.set(id, stream);
    return stream;
  }

  /** What its head says of its priority. */
  prioritize(stream: H2Stream, text: string): void {
    // A PRIORITY_UPDATE that came before counts more (RFC 9218, 7).
    if (stream.priority === NO_PRIORITY) {
      this.sender.prioritize(stream, parsePriority(text));
    }
  }

  /** Removes a stream whose two sides are done. */
  settle(stream: H2Stream): void {
    if (stream.settled) this.#remove(stream);
  }

  /** It is over for both sides, and both know. */
  drop(stream: H2Stream): void {
    this.#remove(stream);
  }

  reset(stream: H2Stream, code: number): void {
    if (stream.over) return;
    this.#wasReset.add(stream.id);
    this.#remove(stream);
    this.sender.number(h2.RST_STREAM, stream.id, code);
  }

  /** An error of a stream (RFC 9113, 5.4.2). */
  #refuse(id: number, error: H2StreamError): void {
    if (this.#isIdle(id)) throw new H2Error(error.h2code, error.message);
    // Who makes us reset streams floods us as well as who resets them. What
    // is refused has cost nothing: it came, perhaps, before our settings did.
    (error.h2code === h2.REFUSED_STREAM ? this.#idlers : this.#resets).count();
    this.#wasReset.add(id);
    this.sender.number(h2.RST_STREAM, id, error.h2code);
    const stream = this.streams.get(id);
    if (stream === undefined) return;
    this.#remove(stream);
    stream.listener.cut(error);
  }

  #remove(stream: H2Stream): void {
    if (stream.over) return;
    this.sender.remove(stream);
    stream.drop();
    this.streams.delete(stream.id);
    const { held } = stream;
    stream.held = 0;
    if (held > 0 && this.error === undefined) this.#giveBack(held);
    this.#owner.left();
  }

  // Flow control of what comes (RFC 9113, 5.2 and 6.9).

  /** The application has read so many bytes of the stream. */
  consume(stream: H2Stream, size: number): void {
    const read = Math.min(size, stream.held);
    if (read === 0 || stream.over || this.error !== undefined) return;
    stream.held -= read;
    this.#giveBack(read);
    if (stream.remoteEnded || stream.discarding) return;
    stream.unacked += read;
    if (stream.unacked < this.windows.stream / 2) return;
    this.sender.number(h2.WINDOW_UPDATE, stream.id, stream.unacked);
    stream.receiveWindow += stream.unacked;
    stream.unacked = 0;
    this.#probe();
  }

  #giveBack(size: number): void {
    const more = this.windows.giveBack(size);
    if (more === 0) return;
    this.sender.number(h2.WINDOW_UPDATE, 0, more);
    this.#probe();
  }

  /** Measures how much comes in a round trip; windows are to be twice that. */
  #probe(): void {
    if (this.#probing || !this.windows.beginProbe(this.dataBytes)) return;
    this.#probing = true;
    this.sender.frame(h2.PING, 0, 0, h2.PROBE);
  }

  #grow(): void {
    const grown = this.windows.endProbe(this.dataBytes);
    if (grown === undefined) return;
    this.sender.write(
      h2.settingsFrame([[h2.INITIAL_WINDOW_SIZE, this.windows.stream]]),
    );
    for (const stream of this.streams.values()) {
      stream.receiveWindow += grown.stream;
    }
    if (grown.session > 0) {
      this.sender.number(h2.WINDOW_UPDATE, 0, grown.session);
    }
  }

  // What goes.

  /** Asks for an answer, which `ponged` tells. */
  ping(): void {
    this.sender.frame(h2.PING, 0, 0, h2.QUESTION);
  }

  /** Tells the peer which streams are taken (RFC 9113, 6.8). */
  goAway(last: number): void {
    this.#accepted = last;
    this.sender.goAway(last, h2.NO_ERROR, "");
  }

  /** The transport has room again. */
  drained(): void {
    this.sender.pump();
  }
}

function windowTooLarge(id: number): H2Error | H2StreamError {
  const message = "Cannot send: the window is too large";
  return id === 0
    ? new H2Error(h2.FLOW_CONTROL_ERROR, message)
    : new H2StreamError(h2.FLOW_CONTROL_ERROR, message);
}
