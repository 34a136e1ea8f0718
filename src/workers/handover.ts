import type { Worker } from "node:cluster";

/** The connections on their way to one worker. */
export interface OnTheirWay {
  /** Offers them to the other workers, or closes them if there are none. For when the worker has ended. */
  handOver(hasOthers: boolean): void;
}

/** What Node and a worker say to each other about a connection. */
interface ClusterMessage {
  readonly seq?: number;
  /** The `seq` of the message that this one answers. */
  readonly ack?: number;
}

interface Handle {
  close(): void;
}

/**
 * Follows the connections that Node sends to a worker. Those on their way to one that ends it forgets: nobody would
 * answer them, and nobody close them, until their clients give up. So they are refused in the name of the worker, as by
 * one that has just closed its port, which has Node offer them to the next.
 *
 * None is handed over that the worker has read from: it says that it took one before it reads.
 */
export function followConnections(worker: Worker): OnTheirWay {
  const channel = worker.process;
  const send = channel.send.bind(channel) as (...all: readonly unknown[]) => boolean;
  const onTheirWay = new Map<number, Handle>();

  Object.assign(channel, {
    send(message: ClusterMessage, handle: Handle | null | undefined, ...others: readonly unknown[]) {
      if (message.seq !== undefined && handle) onTheirWay.set(message.seq, handle);
      return send(message, handle, ...others);
    },
  });
  channel.on("internalMessage", ({ ack }: ClusterMessage) => {
    if (ack !== undefined) onTheirWay.delete(ack);
  });

  return {
    handOver(hasOthers) {
      for (const [seq, handle] of onTheirWay) {
        if (hasOthers) channel.emit("internalMessage", { cmd: "NODE_CLUSTER", ack: seq, accepted: false });
        else handle.close();
      }
    },
  };
}
