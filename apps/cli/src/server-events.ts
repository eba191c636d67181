const MAX_EVENT_CHARS = 256 * 1024;

/**
 * Reads server-sent events (WHATWG HTML, "Server-sent events") and yields the data of each.
 *
 * @param body - A `text/event-stream`; an event of more than 256 Ki characters ends the stream with an error.
 */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let pending = '';
  let data: string[] = [];
  for await (const bytes of body) {
    pending += decoder.decode(bytes, { stream: true });
    if (pending.length > MAX_EVENT_CHARS) throw new RangeError('a server-sent event is too long');
    const lines = pending.split(/\r\n|\n|\r(?!$)/);
    pending = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield data.join('\n');
        data = [];
      } else if (line.startsWith('data:')) {
        data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
      }
    }
  }
}
