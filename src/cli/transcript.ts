/** What came of a piece: what of it is to be shown, and whether all that was shown is taken back before. */
export type Written = { readonly fresh: string; readonly isAnew: boolean };

/** What a client knows of one answer: bytes, put together from pieces at their offsets, over however many streams. */
export type Transcript = {
  /** A new stream: it sends again what is known. */
  attach(): void;
  /** Takes a piece. */
  write(offset: number, content: string): Written;
  /** Takes the whole, after which the next answer begins. */
  end(content: string): Written;
  text(): string;
};

const capacityFirst = 4096;

/** A piece is written at its offset and cuts what stood behind it; so it is exact across crashes and reconnects. */
export function makeTranscript(): Transcript {
  let buffer = Buffer.alloc(capacityFirst);
  let length = 0;
  /** By this stream. */
  let given = 0;

  const put = (offset: number, piece: Buffer): void => {
    length = offset + piece.length;
    if (length > buffer.length) buffer = Buffer.concat([buffer.subarray(0, offset)], 2 * length);
    piece.copy(buffer, offset);
  };
  return {
    attach: () => (given = 0),
    write: (offset, content) => {
      const piece = Buffer.from(content);
      const known = buffer.subarray(offset, Math.min(length, offset + piece.length));
      // Within a stream each byte comes once, but of an answer that is begun anew.
      const isSame = offset >= given && known.equals(piece.subarray(0, known.length));
      given = offset + piece.length;
      if (isSame && known.length === piece.length) return { fresh: "", isAnew: false };
      const isAnew = !isSame && length > 0;
      const shown = isSame ? length : 0;
      put(offset, piece);
      return { fresh: buffer.toString("utf8", shown, length), isAnew };
    },
    end: (content) => {
      const whole = Buffer.from(content);
      const isSame = buffer.subarray(0, length).equals(whole.subarray(0, length));
      const written = isSame
        ? { fresh: whole.toString("utf8", length), isAnew: false }
        : { fresh: content, isAnew: true };
      length = 0;
      given = 0;
      return written;
    },
    text: () => buffer.toString("utf8", 0, length),
  };
}
