import type { Dispatcher } from "undici";

/**
 * Calls `started` when a request has its socket, before the first byte is written to it: until then it is certain that
 * the service has seen nothing of the request. The pool cannot say that, since its calls are at different points.
 */
export function noteStart(started: () => void): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) =>
    dispatch(options, {
      onRequestStart(controller, context) {
        handler.onRequestStart?.(controller, context);
        // A call that ended while it waited for the socket is aborted here, and not written.
        if (!controller.aborted) started();
      },
      onResponseStart: (...answer) => handler.onResponseStart?.(...answer),
      onResponseData: (...data) => handler.onResponseData?.(...data),
      onResponseEnd: (...end) => handler.onResponseEnd?.(...end),
      onResponseError: (...failure) => handler.onResponseError?.(...failure),
    });
}
