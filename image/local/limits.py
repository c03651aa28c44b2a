"""Lambda's numbers, each in one place; docs/local-lambda.md says which are documented by AWS."""

from __future__ import annotations

MIB = 2**20

REQUEST_BYTES = 6 * MIB  # of a synchronous invoke's payload
EVENT_BYTES = MIB  # of an asynchronous invoke's payload
RESPONSE_BYTES = 6 * MIB + 100  # of a buffered response
STREAM_BYTES = 200 * MIB  # of a streamed response
STREAM_UNCAPPED_BYTES = 6 * MIB  # after these, a stream is slowed down
STREAM_BYTES_PER_S = 2 * MIB

INIT_S = 10.0  # the init phase; what takes longer is started again within the invoke
SNAPSHOT_INIT_S = 130.0  # the init phase before a snapshot, or the function's time-out if that is longer
RESTORE_S = 10.0  # all that runs after a restore
SHUTDOWN_S = 2.0  # for external extensions, of which the runtime gets its share first
SHUTDOWN_INTERNAL_S = 0.5  # with internal extensions only
RUNTIME_SHARE = 0.3  # of the shutdown's time, between SIGTERM and SIGKILL

MB_PER_VCPU = 1769
MOST_VCPUS = 6
LEAST_VISIBLE_CPUS = 2  # a small function sees two processors and gets a share of one
LOG_TAIL_BYTES = 4096
EXTENSIONS = 10  # at most, external and internal together

ASYNC_RETRIES = 2  # of an asynchronous invoke that failed
ASYNC_RETRY_DELAY_S = 60.0  # before the first; the second waits twice as long
EVENT_AGE_S = 21_600.0  # for which an asynchronous invoke is tried
THROTTLE_S, THROTTLE_MOST_S = 1.0, 300.0  # before a throttled one is tried again, doubled each time up to the most

BATCH_SIZES = (1, 10_000)  # messages of an invoke
BATCH_SIZE = 10  # by default; the most of a FIFO queue, and without a window
BATCH_WINDOW_S = 300  # the longest
POLL_S = 1  # of a long poll; Lambda's takes 20, but the end of this process would wait for it
POLL_RETRY_S, POLL_RETRY_MOST_S = 1.0, 30.0  # before SQS is asked again after an error
QUEUE_THROTTLE_S, QUEUE_THROTTLE_MOST_S = (
    0.25,
    5.0,
)  # before a throttled batch is tried again; Lambda's aren't documented
QUEUE_GRACE_S = 10.0  # for batches in flight when the local Lambda is told to end
BATCHES = 5  # in flight, with which Lambda begins where the mapping sets no maximum

ACCOUNT = "123456789012"
LATEST = "$LATEST"  # the version that is not published
RUNTIME_API_PORT = 9001  # on the loopback of an environment with a network of its own
