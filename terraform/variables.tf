variable "name" {
  description = "What everything is called, or begins with."
  type        = string
  default     = "firebrick"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "name must have 2 to 24 small letters, digits and hyphens, begin with a letter and not end with a hyphen: buckets are named after it."
  }
}

variable "region" {
  description = "Where to; null for that of the environment (AWS_REGION) or the profile."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like eu-central-1."
  }
}

variable "tags" {
  description = "Put on every resource, beside Project = name."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:") && length(key) <= 128])
    error_message = "tags: AWS keeps keys that begin with aws: for itself, and takes 128 characters at most."
  }
}

# ---------------------------------------------------------------- the image

variable "model_dir" {
  description = "The artefact to bake, made by `make export`; relative paths begin at the clone's root."
  type        = string
  default     = "build/demo"
  nullable    = false

  validation {
    condition     = length(var.model_dir) > 0
    error_message = "model_dir must name a directory made by `make export`."
  }
}

variable "model_s3_uri" {
  description = "An artefact in S3 that both functions load into their memory at each start, in place of the image's: s3://BUCKET/PREFIX."
  type        = string
  default     = null

  validation {
    condition     = var.model_s3_uri == null || can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.'()-]+)*/?$", var.model_s3_uri))
    error_message = "model_s3_uri must look like s3://BUCKET/PREFIX, without blanks and wildcards."
  }

  validation {
    condition     = var.model_s3_uri == null || !can(regex("/\\.{1,2}(/|$)", var.model_s3_uri))
    error_message = "model_s3_uri must not have . or .. in its prefix: the function would refuse it."
  }
}

variable "model_kms_key_arn" {
  description = "The key that the objects of model_s3_uri are encrypted with, if it is a key of yours."
  type        = string
  default     = null

  validation {
    condition     = var.model_kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.model_kms_key_arn))
    error_message = "model_kms_key_arn must be a key's ARN: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }

  validation {
    condition     = var.model_kms_key_arn == null || var.model_s3_uri != null
    error_message = "model_kms_key_arn is of no use without model_s3_uri: set both, or none."
  }
}

variable "image_uri" {
  description = "Images that are in ECR already, by digest; then nothing is built: { stream = \"…@sha256:…\", worker = \"…@sha256:…\" }."
  type = object({
    stream = string
    worker = optional(string)
  })
  default = null

  validation {
    condition = alltrue([
      for uri in var.image_uri == null ? [] : compact([var.image_uri.stream, var.image_uri.worker]) :
      can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", uri))
    ])
    error_message = "image_uri must name images in ECR by their digest: ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY@sha256:DIGEST. A tag could mean another image tomorrow."
  }

  validation {
    condition     = var.image_uri == null || var.worker == null || try(var.image_uri.worker, null) != null
    error_message = "image_uri.worker is missing: the worker needs an image of its own, or set worker = null."
  }

  validation {
    condition = var.region == null || alltrue([
      for uri in var.image_uri == null ? [] : compact([var.image_uri.stream, var.image_uri.worker]) :
      strcontains(uri, ".dkr.ecr.${coalesce(var.region, "-")}.")
    ])
    error_message = "image_uri must be in the region of the functions: Lambda takes images from its own region only."
  }
}

variable "build_arguments" {
  description = "What images are built on: BASE_IMAGE, BUILDER_IMAGE, LWA_IMAGE, PYTHON_VERSION as in docs/image.md."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.build_arguments) : contains(["BASE_IMAGE", "BUILDER_IMAGE", "LWA_IMAGE", "PYTHON_VERSION"], key)])
    error_message = "build_arguments knows BASE_IMAGE, BUILDER_IMAGE, LWA_IMAGE and PYTHON_VERSION."
  }
}

variable "architecture" {
  description = "Of the functions' processors."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64."
  }

  validation {
    condition     = var.architecture == "x86_64" || var.image_uri != null
    error_message = "architecture = \"arm64\" needs image_uri: `python -m image.build` makes x86_64 images only."
  }
}

# ---------------------------------------------------------------- the stream function

variable "memory_mb" {
  description = "Of the stream function; 1,769 MB buy one processor, 10,240 MB six."
  type        = number
  default     = 10240
  nullable    = false

  validation {
    condition     = floor(var.memory_mb) == var.memory_mb && var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "memory_mb must be a whole number from 128 to 10240. New accounts may be limited to 3008 until they ask for more."
  }
}

variable "timeout_s" {
  description = "Of one answer of the stream function; it ends by itself a second earlier."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = floor(var.timeout_s) == var.timeout_s && var.timeout_s >= 3 && var.timeout_s <= 900
    error_message = "timeout_s must be a whole number from 3 to 900."
  }
}

variable "tmp_mb" {
  description = "Of /tmp, which nothing needs."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = floor(var.tmp_mb) == var.tmp_mb && var.tmp_mb >= 512 && var.tmp_mb <= 10240
    error_message = "tmp_mb must be a whole number from 512 to 10240."
  }
}

variable "environment" {
  description = "More settings of both functions, as in docs/configuration.md."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.environment) : can(regex("^(FIREBRICK|POWERTOOLS|OMP)_[A-Z0-9_]+$", key))])
    error_message = "environment takes FIREBRICK_*, POWERTOOLS_* and OMP_* only; the rest is Lambda's or the adapter's."
  }

  validation {
    condition = length(setintersection(keys(var.environment), [
      "FIREBRICK_API_KEY", "FIREBRICK_API_KEY_SECRET", "FIREBRICK_RESULTS_BUCKET", "FIREBRICK_MODEL_DIR",
    ])) == 0
    error_message = "environment: FIREBRICK_API_KEY would stand in the state for all to read, and FIREBRICK_API_KEY_SECRET, _RESULTS_BUCKET and _MODEL_DIR are set by this configuration (model_s3_uri for a model in S3); use url_auth = \"NONE\" for a key."
  }
}

variable "url_auth" {
  description = "AWS_IAM: callers sign, and need the policy in the outputs. NONE: anybody who has the API key, which is made in Secrets Manager."
  type        = string
  default     = "AWS_IAM"
  nullable    = false

  validation {
    condition     = contains(["AWS_IAM", "NONE"], var.url_auth)
    error_message = "url_auth must be AWS_IAM or NONE."
  }
}

variable "api_key_version" {
  description = "A larger number makes a new API key (url_auth = \"NONE\"). Functions take it up within five minutes, or when it is first used."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = floor(var.api_key_version) == var.api_key_version && var.api_key_version >= 1
    error_message = "api_key_version must be a whole number, 1 or more."
  }
}

variable "cors_origins" {
  description = "Origins whose pages may call the URL, such as https://example.org; none: no page may."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for origin in var.cors_origins : origin == "*" || can(regex("^https?://[^/ ]+$", origin))])
    error_message = "cors_origins must be origins, as https://example.org without a path, or *."
  }
}

variable "reserved_concurrency" {
  description = "Environments of the stream function at most, and a share of the account's that nobody else gets; null for no bound, 0 to stop it."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : try(floor(var.reserved_concurrency) == var.reserved_concurrency && var.reserved_concurrency >= 0, false)
    error_message = "reserved_concurrency must be null or a whole number, 0 or more."
  }
}

variable "provisioned_concurrency" {
  description = "Environments that are kept awake, and paid for. From minimum to maximum by their use (target, 0.1 to 0.9), or by a schedule of cron(…), rate(…) or at(…)."
  type = object({
    minimum = number
    maximum = optional(number)
    target  = optional(number, 0.7)
    schedule = optional(list(object({
      when     = string
      minimum  = number
      maximum  = number
      timezone = optional(string, "UTC")
    })), [])
  })
  default = null

  validation {
    condition     = var.provisioned_concurrency == null ? true : try(var.provisioned_concurrency.minimum >= 1 && floor(var.provisioned_concurrency.minimum) == var.provisioned_concurrency.minimum, false)
    error_message = "provisioned_concurrency.minimum must be a whole number, 1 or more; a schedule may lower it to 0."
  }

  validation {
    condition = try(var.provisioned_concurrency.maximum, null) == null ? true : try(
      floor(var.provisioned_concurrency.maximum) == var.provisioned_concurrency.maximum && var.provisioned_concurrency.maximum >= var.provisioned_concurrency.minimum, false
    )
    error_message = "provisioned_concurrency.maximum must be a whole number and not below minimum."
  }

  validation {
    condition     = var.provisioned_concurrency == null ? true : try(var.provisioned_concurrency.target >= 0.1 && var.provisioned_concurrency.target <= 0.9, false)
    error_message = "provisioned_concurrency.target must be from 0.1 to 0.9."
  }

  validation {
    condition = alltrue([
      for entry in try(var.provisioned_concurrency.schedule, []) : try(
        length(regexall("^(cron|rate|at)\\(.+\\)$", entry.when)) == 1 && entry.minimum >= 0 && entry.maximum >= entry.minimum &&
        floor(entry.minimum) == entry.minimum && floor(entry.maximum) == entry.maximum, false
      )
    ])
    error_message = "provisioned_concurrency.schedule: when must be cron(…), rate(…) or at(…), and 0 <= minimum <= maximum, in whole numbers."
  }

  validation {
    condition = length(try(var.provisioned_concurrency.schedule, [])) == length(distinct([
      for entry in try(var.provisioned_concurrency.schedule, []) : [entry.when, entry.timezone]
    ]))
    error_message = "provisioned_concurrency.schedule says two things for one time: two entries have the same when and timezone."
  }

  validation {
    condition = var.provisioned_concurrency == null || var.reserved_concurrency == null ? true : try(
      max([for entry in concat([var.provisioned_concurrency], var.provisioned_concurrency.schedule) : coalesce(entry.maximum, entry.minimum)]...) <= var.reserved_concurrency, false
    )
    error_message = "provisioned_concurrency must not be above reserved_concurrency: Lambda refuses what it could never use."
  }
}

variable "snap_start" {
  description = "Start environments from a snapshot of one that is ready."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.snap_start || var.provisioned_concurrency == null
    error_message = "snap_start and provisioned_concurrency exclude each other in Lambda: set one of them."
  }

  validation {
    condition     = !var.snap_start || var.tmp_mb <= 512
    error_message = "snap_start allows 512 MB of /tmp at most: lower tmp_mb."
  }
}

# ---------------------------------------------------------------- the worker function

variable "worker" {
  description = "A second function behind a queue, with its results in a bucket; {} for all defaults, null for none."
  type = object({
    memory_mb            = optional(number, 10240)
    timeout_s            = optional(number, 900)
    batch_size           = optional(number, 10)
    batch_window_s       = optional(number, 0)
    maximum_concurrency  = optional(number, 10)
    max_receive_count    = optional(number, 5)
    retention_days       = optional(number, 30) # of objects in both buckets
    document_instruction = optional(string)     # for documents that bring none
    results = optional(object({
      queue   = optional(bool, false) # each result also as a message in a queue that is made for it
      bus_arn = optional(string)      # each result also as an event on this EventBridge bus
    }), {})
  })
  default = null

  validation {
    condition     = var.worker == null ? true : try(floor(var.worker.memory_mb) == var.worker.memory_mb && var.worker.memory_mb >= 128 && var.worker.memory_mb <= 10240, false)
    error_message = "worker.memory_mb must be a whole number from 128 to 10240."
  }

  validation {
    condition     = var.worker == null ? true : try(floor(var.worker.timeout_s) == var.worker.timeout_s && var.worker.timeout_s >= 3 && var.worker.timeout_s <= 900, false)
    error_message = "worker.timeout_s must be a whole number from 3 to 900; messages stay invisible for six times as long."
  }

  validation {
    condition     = var.worker == null ? true : try(floor(var.worker.batch_size) == var.worker.batch_size && var.worker.batch_size >= 1 && var.worker.batch_size <= 10000, false)
    error_message = "worker.batch_size must be a whole number from 1 to 10000."
  }

  validation {
    condition     = var.worker == null ? true : try(floor(var.worker.batch_window_s) == var.worker.batch_window_s && var.worker.batch_window_s >= 0 && var.worker.batch_window_s <= 300, false)
    error_message = "worker.batch_window_s must be a whole number from 0 to 300."
  }

  validation {
    condition     = var.worker == null ? true : try(var.worker.batch_size <= 10 || var.worker.batch_window_s >= 1, false)
    error_message = "worker.batch_size above 10 needs worker.batch_window_s of at least 1."
  }

  validation {
    condition     = var.worker == null ? true : try(floor(var.worker.maximum_concurrency) == var.worker.maximum_concurrency && var.worker.maximum_concurrency >= 2 && var.worker.maximum_concurrency <= 1000, false)
    error_message = "worker.maximum_concurrency must be a whole number from 2 to 1000."
  }

  validation {
    condition     = var.worker == null ? true : try(floor(var.worker.max_receive_count) == var.worker.max_receive_count && var.worker.max_receive_count >= 1 && var.worker.max_receive_count <= 1000, false)
    error_message = "worker.max_receive_count must be a whole number from 1 to 1000; 5 or more, since messages that only ran out of time count too."
  }

  validation {
    condition     = var.worker == null ? true : try(floor(var.worker.retention_days) == var.worker.retention_days && var.worker.retention_days >= 1, false)
    error_message = "worker.retention_days must be a whole number, 1 or more."
  }

  validation {
    condition     = try(var.worker.document_instruction, null) == null ? true : length(trimspace(var.worker.document_instruction)) > 0 && length(var.worker.document_instruction) <= 2000
    error_message = "worker.document_instruction must be a text of at most 2000 characters: Lambda keeps 4 KB of settings."
  }

  validation {
    condition     = try(var.worker.results.bus_arn, null) == null ? true : can(regex("^arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/[A-Za-z0-9._/-]+$", var.worker.results.bus_arn))
    error_message = "worker.results.bus_arn must be an EventBridge bus's ARN (arn:aws:events:REGION:ACCOUNT:event-bus/NAME)."
  }
}

# ---------------------------------------------------------------- batches

variable "batches" {
  description = "A state machine that asks the worker about each object of a prefix, row of a CSV file or line of JSON; {} for all defaults, null for none."
  type = object({
    max_concurrency              = optional(number)     # of the worker's environments; null for worker.maximum_concurrency
    tolerated_failure_percentage = optional(number, 10) # more failed items end an execution; its input may say otherwise
  })
  default = null

  validation {
    condition     = var.batches == null || var.worker != null
    error_message = "batches needs the worker: set worker = {} too."
  }

  validation {
    condition     = try(var.batches.max_concurrency, null) == null ? true : try(floor(var.batches.max_concurrency) == var.batches.max_concurrency && var.batches.max_concurrency >= 1 && var.batches.max_concurrency <= 1000, false)
    error_message = "batches.max_concurrency must be a whole number from 1 to 1000."
  }

  validation {
    condition     = var.batches == null ? true : try(var.batches.tolerated_failure_percentage >= 0 && var.batches.tolerated_failure_percentage <= 100, false)
    error_message = "batches.tolerated_failure_percentage must be from 0 to 100."
  }
}

# ---------------------------------------------------------------- around them

variable "vpc" {
  description = "Private subnets for the functions, with the endpoints they need and no way out; route_table_ids for S3 (worker, model_s3_uri)."
  type = object({
    id              = string
    subnet_ids      = list(string)
    route_table_ids = optional(list(string), [])
    endpoints       = optional(bool, true) # false: the VPC has them already, or a way out
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : try(startswith(var.vpc.id, "vpc-") && length(var.vpc.subnet_ids) > 0 && alltrue([for id in var.vpc.subnet_ids : startswith(id, "subnet-")]), false)
    error_message = "vpc needs an id (vpc-…) and at least one of its subnets (subnet-…)."
  }

  validation {
    condition     = var.vpc == null ? true : try(alltrue([for id in var.vpc.route_table_ids : startswith(id, "rtb-")]), false)
    error_message = "vpc.route_table_ids must be route tables' ids (rtb-…)."
  }

  validation {
    condition     = var.vpc == null ? true : try(!var.vpc.endpoints || (var.worker == null && var.model_s3_uri == null) || length(var.vpc.route_table_ids) > 0, false)
    error_message = "vpc.route_table_ids is missing: the worker, or a model in S3, reaches S3 through a gateway endpoint in the subnets' route tables."
  }
}

variable "monitoring" {
  description = "Logs, traces, alarms' topic, a monthly budget in USD with whom to tell."
  type = object({
    log_retention_days = optional(number, 30)
    tracing            = optional(bool, true)
    dashboard          = optional(bool, true)
    alarm_topic_arn    = optional(string)
    monthly_budget_usd = optional(number)
    budget_email       = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      coalesce(var.monitoring.log_retention_days, -1)
    )
    error_message = "monitoring.log_retention_days must be one of CloudWatch's: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 and some longer."
  }

  validation {
    condition     = var.monitoring.alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.monitoring.alarm_topic_arn))
    error_message = "monitoring.alarm_topic_arn must be an SNS topic's ARN."
  }

  validation {
    condition     = var.monitoring.monthly_budget_usd == null ? true : var.monitoring.monthly_budget_usd > 0
    error_message = "monitoring.monthly_budget_usd must be above 0."
  }

  validation {
    condition     = var.monitoring.budget_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.monitoring.budget_email))
    error_message = "monitoring.budget_email must be an e-mail address."
  }

  validation {
    condition     = var.monitoring.monthly_budget_usd == null || var.monitoring.budget_email != null || var.monitoring.alarm_topic_arn != null
    error_message = "monitoring.monthly_budget_usd needs someone to tell: budget_email or alarm_topic_arn."
  }
}

variable "kms_key_arn" {
  description = "A key of yours for images, logs, queues, buckets, secret and environments; null for AWS's own. Its policy must allow logs.REGION.amazonaws.com, and with a worker s3.amazonaws.com."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be a key's ARN: arn:aws:kms:REGION:ACCOUNT:key/ID. An alias may mean another key tomorrow."
  }
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete buckets that still hold objects."
  type        = bool
  default     = false
  nullable    = false
}
