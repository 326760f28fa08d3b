import type { Message, Position } from "./frame.js"

/** Who hears of a stream. */
export interface StreamEvents {
  hand(m: Message): void
  /** What lay before the position and was not handed out is lost for good. */
  missed(position: Position | undefined): void
  /** A message came before older ones that are still wanted. */
  overtaken(m: Message): void
}

/** The messages of a channel or of the user: each is handed out once, in order. */
export class Stream {
  /** After the last message that was handed out; absent where there is no history. */
  position: Position | undefined
  /**
   * Messages after the position are wanted, while others may come already: those up to
   * this offset, which is not known before the answer.
   */
  wanted: { until?: number } | undefined
  #events: StreamEvents
  #recent = false // those that come first may lie before the position
  #told: Position | undefined // a gap that its frame is still to come for

  constructor(events: StreamEvents) {
    this.#events = events
  }

  /** Begins at a position, after at most the `recent` messages before it. */
  begin(position: Position | undefined, recent = false): void {
    this.position = position?.epoch ? { offset: position.offset, epoch: position.epoch } : undefined
    this.#recent = recent
    this.#told = undefined
  }

  /** The answer to whoever asked for what comes after the position. */
  recover(now: Position | undefined, recovered: boolean | undefined): void {
    if (!recovered || !now?.epoch || !this.position) {
      this.lose(now)
      this.#told = this.position
      return
    }
    // Offsets go on where an epoch follows another without loss.
    this.begin({ offset: this.position.offset, epoch: now.epoch })
    if (this.wanted) this.wanted.until = now.offset
    this.#settle()
  }

  /** The sidecar says that messages are lost. */
  skip(position: Position | undefined): void {
    const { offset, epoch } = this.#told ?? {}
    this.#told = undefined
    if (!position || offset !== position.offset || epoch !== position.epoch) this.lose(position)
  }

  /** Goes on at a position; what lay before it is lost. */
  lose(position: Position | undefined): void {
    this.begin(position)
    this.wanted = undefined
    this.#events.missed(this.position)
  }

  take(m: Message): void {
    if (!m.offset) return this.#events.hand(m)
    const { offset, epoch } = this.position ?? {}
    m.epoch ??= epoch
    if (m.epoch === epoch && !this.#recent && m.offset <= offset!) return
    // It may be an older one with a hole before it, or a newer one: nobody can tell.
    if (this.wanted && (m.epoch !== epoch || m.offset !== offset! + 1)) return this.#events.overtaken(m)
    this.begin({ offset: m.offset, epoch: m.epoch! })
    this.#settle()
    this.#events.hand(m)
  }

  // What was wanted is here.
  #settle(): void {
    if (this.wanted && this.position!.offset >= (this.wanted.until ?? Infinity)) this.wanted = undefined
  }
}
