/** A channel's client for browsers: `kind` is websocket, sse or polling. */
export function connect(url, kind, { open, message, close }) {
  let id, over = false, seq = 0, posts = Promise.resolve();
  const at = (query) => `${url}?channel=${id}${query}`;
  const end = () => over || (over = true, close?.());
  const pause = () => new Promise((resolve) => setTimeout(resolve, 1000));
  const enter = (channel) => {
    if (channel !== id) id = channel, seq = 0, open?.();
  };
  const receive = ({ data, base64 }) =>
    message?.(data ?? Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));

  async function poll() {
    for (let cursor = 0; !over;) {
      try {
        const response = await fetch(id ? at(`&cursor=${cursor}`) : url);
        if (response.status === 404) id = undefined; // A new session.
        if (!response.ok) throw new Error(response.status);
        const answer = await response.json();
        if (answer.channel !== id) enter(answer.channel);
        answer.messages.forEach(receive);
        cursor = answer.cursor;
        if (answer.closed?.again) id = undefined, cursor = 0;
        else if (answer.closed || answer.replaced) end();
      } catch {
        if (!id) cursor = 0;
        await pause();
      }
    }
  }

  /** Again and again until it is answered; its number tells it is the same. */
  async function post(data) {
    const query = `&seq=${++seq}`, session = id;
    while (!over && session === id) {
      const sent = fetch(at(query), { method: "POST", body: data });
      if (await sent.then(() => true, () => false)) return;
      await pause();
    }
  }

  if (kind === "websocket") {
    const socket = new WebSocket(url.replace(/^http/, "ws"));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => open?.();
    socket.onmessage = ({ data }) =>
      message?.(typeof data === "string" ? data : new Uint8Array(data));
    socket.onclose = end;
    return { send: (data) => socket.send(data), close: () => socket.close() };
  }
  const events = kind === "sse" && new EventSource(url);
  if (events) {
    const parsed = (use) => ({ data }) => use(JSON.parse(data));
    events.onmessage = parsed(receive);
    events.addEventListener("channel", parsed((it) => enter(it.channel)));
    events.addEventListener("close", parsed((it) => it.again || quit()));
    events.onerror = () => events.readyState === 2 && end();
  } else poll();
  const quit = () => (events && events.close(), end());
  return {
    send: (data) => posts = posts.then(() => post(data)),
    close() {
      if (id) fetch(at(""), { method: "DELETE", keepalive: true });
      quit();
    },
  };
}
