import { ServiceError } from "#src/platform/errors.ts";
import type { ConnectionStatus, ProbeFailure } from "./connection.ts";

/** The caller's organisation has no such connection. */
export class ConnectionNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such connection; list them with GET /api/service-connections";
}

/** The caller's organisation has not connected the service. */
export class ServiceNotConnected extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "service is not connected; register it with POST /api/service-connections";
}

/** Another user of the organisation keeps the connection private. */
export class NotOwner extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "NOT_OWNER";

  constructor(connectionId: string) {
    super("the connection is private to another user; ask its owner to share it, or make one of your own", {
      metadata: { connection_id: connectionId },
    });
  }
}

/** A new connection, or one that moves to another origin or path, came without its key. */
export class CredentialRequired extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "CREDENTIAL_REQUIRED";
}

/** The connection was switched off, or its service does not take its credential as it is. */
export class ConnectionInactive extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "CONNECTION_INACTIVE";

  constructor(name: string, status: ConnectionStatus) {
    super(
      status === "ACTIVE"
        ? `connection ${name} is inactive; set active to true with PATCH /api/service-connections/{id}`
        : `connection ${name} is ${status}; calls are made through it once it is ACTIVE`,
    );
  }
}

/** Another connection of the organisation is called by the slug. */
export class SlugTaken extends ServiceError {
  readonly kind = "already_exists";
  readonly reason = "SLUG_TAKEN";

  constructor(slug: string) {
    super(
      `serviceSlug: another connection is called ${slug}; give another one, or replace its credential with ` +
        "POST /api/service-connections",
    );
  }
}

/** The service was asked before anything was stored, and did not take the credential. */
export class CredentialRejected extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "CREDENTIAL_REJECTED";
  override readonly metadata;

  constructor({ stage, message }: ProbeFailure, status: number | undefined) {
    super(`nothing was stored, as the credential did not pass its test: ${stage}: ${message}`);
    this.metadata = { stage, ...(status !== undefined && { upstream_status: String(status) }) };
  }
}

/** The connection was changed while a change of it was being prepared. */
export class ConnectionChanged extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "CREDENTIAL_REJECTED";
  override readonly message =
    "nothing was stored: the connection is being changed by other calls as well; look at it, and try again";
}
