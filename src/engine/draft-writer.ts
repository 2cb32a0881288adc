import type { ModelCall } from "../agent/event.ts";
import { EngramError } from "../errors.ts";
import { engineLimits } from "../limits.ts";
import type { Draft, DraftPiece, Holder, Store } from "../store/store.ts";

/** Makes a model's deltas durable, many in one commit, before anyone is shown them. */
export interface DraftWriter {
  /** Takes a delta; resolves at once, or, where the store is behind, when it has caught up. Fails as the store does. */
  add(kind: DraftPiece["kind"], content: string): Promise<void>;
  /** Resolves when all that was added is durable. */
  flush(): Promise<void>;
  /** Drops what is not yet written, and resolves when no write is under way. */
  drop(): Promise<void>;
}

/** `holder` says who writes, at each write; `begun` is the draft that is gone on with; null: a new one. Offsets go on from its end. */
export function makeDraftWriter(
  store: Store,
  holder: () => Holder,
  call: ModelCall,
  begun: Draft | null,
): DraftWriter {
  const offsets = { thinking: 0, text: 0 };
  for (const { kind, content } of begun?.pieces ?? []) offsets[kind] += Buffer.byteLength(content);
  let pending: DraftPiece[] = [];
  let pendingChars = 0;
  let writing: Promise<void> | null = null;
  let scheduled = false;
  let fault: EngramError | null = null;

  const write = async (): Promise<void> => {
    while (pending.length > 0 && fault === null) {
      const pieces = merged(pending);
      pending = [];
      pendingChars = 0;
      try {
        await store.writeDraft(holder(), call, pieces);
      } catch (error) {
        fault = EngramError.of(error);
      }
    }
  };
  const start = (): Promise<void> => {
    writing ??= write().finally(() => {
      writing = null;
      if (isBehind()) void start(); // Added behind the last look of the write that ends here.
    });
    return writing;
  };
  const isBehind = (): boolean => writing !== null || (pending.length > 0 && fault === null);
  const flush = async (): Promise<void> => {
    while (isBehind()) await start();
    if (fault !== null) throw fault;
  };

  return {
    add: async (kind, content) => {
      if (fault !== null) throw fault;
      if (content === "") return;
      pending.push({ kind, offset: offsets[kind], content });
      offsets[kind] += Buffer.byteLength(content);
      pendingChars += content.length;
      if (pendingChars > engineLimits.draftPendingCharsMax) return flush();
      if (scheduled || writing !== null) return;
      // A turn of the loop later: a reply that is whole by then needs no draft.
      scheduled = true;
      setImmediate(() => {
        scheduled = false;
        void start();
      });
    },
    flush,
    drop: async () => {
      pending = [];
      await writing;
      pending = [];
    },
  };
}

/** Neighbours of one kind as one piece: one row of the store for a burst of tokens. */
function merged(pieces: readonly DraftPiece[]): readonly DraftPiece[] {
  const runs: { kind: DraftPiece["kind"]; offset: number; contents: string[] }[] = [];
  for (const { kind, offset, content } of pieces) {
    const last = runs.at(-1);
    if (last?.kind === kind) last.contents.push(content);
    else runs.push({ kind, offset, contents: [content] });
  }
  return runs.map(({ kind, offset, contents }) => ({ kind, offset, content: contents.join("") }));
}
