"""Lambda's numbers, each in one place; docs/local-lambda.md says which are documented by AWS."""

MIB = 2**20

REQUEST_BYTES = 6 * MIB  # of a synchronous invoke's payload
EVENT_BYTES = MIB  # of an asynchronous invoke's payload
RESPONSE_BYTES = 6 * MIB + 100  # of a buffered response
STREAM_BYTES = 200 * MIB  # of a streamed response
STREAM_UNCAPPED_BYTES = 6 * MIB  # after these, a stream is slowed down
STREAM_BYTES_PER_S = 2 * MIB

INIT_S = 10.0  # the init phase; what takes longer is started again within the invoke
SHUTDOWN_S = 2.0  # for external extensions, of which the runtime gets its share first
SHUTDOWN_INTERNAL_S = 0.5  # with internal extensions only
RUNTIME_SHARE = 0.3  # of the shutdown's time, between SIGTERM and SIGKILL

MB_PER_VCPU = 1769
MOST_VCPUS = 6
LEAST_VISIBLE_CPUS = 2  # a small function sees two processors and gets a share of one
LOG_TAIL_BYTES = 4096
EXTENSIONS = 10  # at most, external and internal together

ACCOUNT = "123456789012"
VERSION = "$LATEST"
RUNTIME_API_PORT = 9001  # on the loopback of an environment with a network of its own
