import { Code, ConnectError } from "@connectrpc/connect";
import { roomLimits } from "./room-limits.ts";

/** Room in memory for what was asked and not yet carried out, and answered and not yet read, of all calls together. */
export type Room = {
  /** A call's part of it, empty at first. */
  share(): Share;
};

export type Share = {
  /** So many bytes are held now. Throws RESOURCE_EXHAUSTED where that is too much; little never is. */
  set(bytes: number): void;
  /** Nothing is held any more, nor will be. */
  close(): void;
  /** Calls once it is closed; the result takes that back. */
  onClose(closed: () => void): () => void;
};

export function makeRoom(allBytesMax: number = roomLimits.allBytesMax): Room {
  let total = 0;
  return {
    share: () => {
      let mine = 0;
      let isClosed = false;
      const told = new Set<() => void>();
      const set = (bytes: number): void => {
        if (isClosed) return;
        total += bytes - mine;
        mine = bytes;
      };
      return {
        set: (bytes) => {
          set(bytes);
          if (total > allBytesMax && mine > roomLimits.smallBytes)
            throw new ConnectError(
              `the server holds ${allBytesMax} bytes that were sent or are to be read: try again later`,
              Code.ResourceExhausted,
            );
        },
        close: () => {
          set(0);
          isClosed = true;
          for (const tell of told) tell();
          told.clear();
        },
        onClose: (closed) => {
          if (isClosed) closed();
          else told.add(closed);
          return () => void told.delete(closed);
        },
      };
    },
  };
}
