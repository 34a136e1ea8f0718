import { ServiceError } from "#src/platform/errors.ts";
import type { ConnectionStatus } from "./connection.ts";

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
  override readonly message =
    "the connection is private to another user; ask its owner to share it, or make one of your own";
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
