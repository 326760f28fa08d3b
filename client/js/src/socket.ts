import type { Frame } from "./frame.js"

/** What the client needs of a `WebSocket`: a browser's, Node's or that of `ws`. */
export interface WebSocketLike {
  onmessage: ((event: any) => void) | null
  onclose: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
  send(data: string): void
  close(code?: number): void
}

/** The constructor of one. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike

/** One WebSocket, and whether the other side still lives. */
export interface Socket {
  send(text: string): void
  /**
   * Asks for a sign of life whenever nothing came for `quiet` milliseconds: the
   * sidecar's own pings are not shown to pages.
   */
  watch(quiet: number): void
  /** Asks for a sign of life, and gives up if none comes for `patience` milliseconds. */
  probe(patience: number): void
  /** Ends it, without waiting for the other side. */
  drop(): void
}

/** Has `frame` and `closed` hear of a WebSocket; neither is called after `closed`, or `drop`. */
export function socket(ws: WebSocketLike, frame: (frame: Frame) => void, closed: (code: number, reason: string) => void): Socket {
  let heard = Date.now()
  let watching: ReturnType<typeof setTimeout> | undefined
  let deadline: ReturnType<typeof setTimeout> | undefined
  let error = ""

  function watch(quiet: number): void {
    const idle = Date.now() - heard
    if (idle >= quiet) probe(quiet / 2)
    watching = setTimeout(watch, Math.max(quiet - idle, quiet / 2), quiet)
  }

  function probe(patience: number): void {
    if (deadline) return
    ws.send('{"type":"ping"}')
    deadline = setTimeout(end, patience, 3008, "no pong in time")
  }

  function drop(): void {
    clearTimeout(watching)
    clearTimeout(deadline)
    ws.onmessage = ws.onclose = null
    ws.onerror = () => {} // ws throws what nobody listens to
    ws.close(1000)
  }

  function end(code: number, reason: string): void {
    drop()
    closed(code, reason)
  }

  function read(data: string): void {
    heard = Date.now()
    clearTimeout(deadline)
    deadline = undefined
    let type, read: Frame
    try {
      ({ type } = read = JSON.parse(data))
    } catch {
      return end(1002, "not JSON")
    }
    if (type !== "pong") frame(read)
  }

  ws.onmessage = e => read(e.data)
  ws.onerror = e => {
    error = e.message || "" // of ws; browsers say nothing
    // Node's own, before 22, says no more after a refused handshake.
    deadline ??= setTimeout(end, 1000, 1006, error)
  }
  ws.onclose = e => end(e.code, e.reason || error)
  return { send: text => ws.send(text), watch, probe, drop }
}
