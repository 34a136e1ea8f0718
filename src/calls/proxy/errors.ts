import { ServiceError } from "#src/platform/errors.ts";

/** A WebSocket was asked for. Not 426, which would tell the client to upgrade. */
export class UpgradeRefused extends ServiceError {
  readonly kind = "unimplemented";
  readonly reason = "UPGRADE_REFUSED";
  override readonly message =
    "WebSockets are not passed on; use the service's HTTP API, whose bodies and event streams are passed on as they come";
}
