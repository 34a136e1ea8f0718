/** One end of the channel between a worker and its primary. */
export interface Channel<Message> {
  /** Says it; resolves when it is on its way, or when the other side is gone. */
  tell(message: Message): Promise<void>;
  /** Says it unless the other side reads too slowly: for what it can do without. */
  mention(message: Message): void;
}

/** A side that leaves this many unread is not mentioned anything: it may be stopped, and memory would grow for ever. */
const mostUnread = 64;

/** Sends by the function that Node gives the processes of a cluster. */
export function createChannel<Message>(
  send: (message: Message, sent: () => void) => unknown,
): Channel<Message> {
  let unread = 0;

  function tell(message: Message): Promise<void> {
    return new Promise((resolve) => {
      unread++;
      send(message, () => {
        unread--;
        resolve();
      });
    });
  }

  return {
    tell,
    mention(message) {
      if (unread < mostUnread) void tell(message);
    },
  };
}
