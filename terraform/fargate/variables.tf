variable "name" {
  description = "What everything is called, or begins with; it may be that of the deployment with the functions."
  type        = string
  default     = "firebrick"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "name must have 2 to 24 small letters, digits and hyphens, begin with a letter and not end with a hyphen, but is ${var.name}."
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

# ---------------------------------------------------------------- the tasks

variable "image" {
  description = "The stream function's image by digest, as the output images.stream of the other deployment has it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must name an image in ECR by its digest: ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY@sha256:DIGEST. A tag could mean another image tomorrow."
  }
}

variable "architecture" {
  description = "Of the tasks' processors, which must be the image's."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64, but is ${var.architecture}."
  }
}

variable "task" {
  description = "Size of a task, and answers that it makes at a time. docs/scaling.md says how many slots a memory has room for."
  type = object({
    vcpu      = optional(number, 4)
    memory_mb = optional(number, 16384)
    slots     = optional(number, 8)
    queue     = optional(number, 16)  # requests that may wait in a task; more get a 429
    answer_s  = optional(number, 300) # the longest answer: so long nobody in between cuts a silent connection
  })
  default  = {}
  nullable = false

  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
  validation {
    condition     = contains([0.25, 0.5, 1, 2, 4, 8, 16], coalesce(var.task.vcpu, -1))
    error_message = "task.vcpu must be one of Fargate's: 0.25, 0.5, 1, 2, 4, 8, 16."
  }

  validation {
    condition = try(contains(
      {
        "0.25" = [512, 1024, 2048]
        "0.5"  = range(1024, 4097, 1024)
        "1"    = range(2048, 8193, 1024)
        "2"    = range(4096, 16385, 1024)
        "4"    = range(8192, 30721, 1024)
        "8"    = range(16384, 61441, 4096)
        "16"   = range(32768, 122881, 8192)
      }[tostring(var.task.vcpu)], var.task.memory_mb
    ), !contains([0.25, 0.5, 1, 2, 4, 8, 16], coalesce(var.task.vcpu, -1)))
    error_message = "task.memory_mb must be what Fargate has with so many vcpu: 2 to 8 GB a vcpu, in steps of 1024 up to 4 vcpu, of 4096 with 8, of 8192 with 16."
  }

  validation {
    condition     = try(floor(var.task.slots) == var.task.slots && var.task.slots >= 1 && var.task.slots <= 64, false)
    error_message = "task.slots must be a whole number from 1 to 64."
  }

  validation {
    condition     = try(floor(var.task.queue) == var.task.queue && var.task.queue >= 0 && var.task.queue <= 10000, false)
    error_message = "task.queue must be a whole number from 0 to 10000."
  }

  validation {
    condition     = try(floor(var.task.answer_s) == var.task.answer_s && var.task.answer_s >= 30 && var.task.answer_s <= 3600, false)
    error_message = "task.answer_s must be a whole number from 30 to 3600: a load balancer waits for 4000 s at most, and tasks are drained for 3600."
  }
}

variable "environment" {
  description = "More settings of the server, as in docs/configuration.md."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.environment) : can(regex("^(FIREBRICK|OMP)_[A-Z0-9_]+$", key))])
    error_message = "environment takes FIREBRICK_* and OMP_* only."
  }

  validation {
    condition = length(setintersection(keys(var.environment), [
      "FIREBRICK_API_KEY", "FIREBRICK_API_KEY_SECRET", "FIREBRICK_HOST", "FIREBRICK_MODEL_DIR", "FIREBRICK_SLOTS", "FIREBRICK_QUEUE",
    ])) == 0
    error_message = "environment: FIREBRICK_API_KEY would stand in the state for all to read (use api_key_secret), FIREBRICK_SLOTS and _QUEUE are task.slots and task.queue, and _HOST and _MODEL_DIR are fixed."
  }
}

variable "scaling" {
  description = "Tasks from minimum to maximum: by how busy their processors are, or by requests a minute and task. 0 and 0 turn the service off."
  type = object({
    minimum             = optional(number, 1)
    maximum             = optional(number, 4)
    cpu_percent         = optional(number) # 70, unless requests_per_minute is set
    requests_per_minute = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = try(floor(var.scaling.minimum) == var.scaling.minimum && var.scaling.minimum >= 0, false)
    error_message = "scaling.minimum must be a whole number, 0 or more."
  }

  validation {
    condition     = try(floor(var.scaling.maximum) == var.scaling.maximum && var.scaling.maximum >= var.scaling.minimum, false)
    error_message = "scaling.maximum must be a whole number and not below scaling.minimum."
  }

  validation {
    condition     = try(var.scaling.minimum > 0 || var.scaling.maximum == 0, true)
    error_message = "scaling.minimum = 0 needs scaling.maximum = 0: without a task nothing is measured, so nothing would ever start one. That is what functions are for."
  }

  validation {
    condition     = var.scaling.cpu_percent == null ? true : var.scaling.cpu_percent >= 10 && var.scaling.cpu_percent <= 95
    error_message = "scaling.cpu_percent must be from 10 to 95, or null."
  }

  validation {
    condition     = var.scaling.requests_per_minute == null ? true : var.scaling.requests_per_minute >= 1
    error_message = "scaling.requests_per_minute must be 1 or more, or null."
  }
}

# ---------------------------------------------------------------- around them

variable "vpc" {
  description = "Where tasks run: private subnets with a way to ECR, CloudWatch Logs and Secrets Manager (NAT or endpoints). public_subnet_ids for a load balancer on the internet."
  type = object({
    id                = string
    subnet_ids        = list(string)
    public_subnet_ids = optional(list(string), [])
  })
  nullable = false

  validation {
    condition     = startswith(var.vpc.id, "vpc-")
    error_message = "vpc.id must be a VPC's id (vpc-…), but is ${var.vpc.id}."
  }

  validation {
    condition     = length(var.vpc.subnet_ids) >= 2 && alltrue([for id in concat(var.vpc.subnet_ids, var.vpc.public_subnet_ids) : startswith(id, "subnet-")])
    error_message = "vpc.subnet_ids must be at least two subnets (subnet-…) in different zones, as a load balancer wants them."
  }

  validation {
    condition     = length(var.vpc.public_subnet_ids) != 1
    error_message = "vpc.public_subnet_ids must be at least two subnets in different zones, or none."
  }
}

variable "balancer" {
  description = "Who may come in. With a certificate it is HTTPS; without one only plain_http within the VPC, or the router."
  type = object({
    certificate_arn = optional(string)
    internal        = optional(bool, true)
    plain_http      = optional(bool, false)
    allowed_cidrs   = optional(list(string), [])
    client_ca       = optional(object({ bucket = string, key = string })) # mTLS: a PEM bundle in S3
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.balancer.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.balancer.certificate_arn))
    error_message = "balancer.certificate_arn must be an ACM certificate's ARN: arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }

  validation {
    condition     = var.balancer.certificate_arn != null || var.balancer.plain_http == true || var.router != null
    error_message = "balancer.certificate_arn is missing: without it, prompts and keys would go in the clear. Give one, or set balancer.plain_http = true for a load balancer that only the VPC reaches, or use router."
  }

  validation {
    condition     = var.balancer.internal == true || var.balancer.certificate_arn != null
    error_message = "balancer.internal = false needs balancer.certificate_arn: nothing is served to the internet in the clear."
  }

  validation {
    condition     = var.balancer.internal == true || length(var.vpc.public_subnet_ids) > 0
    error_message = "balancer.internal = false needs vpc.public_subnet_ids."
  }

  validation {
    condition     = var.balancer.plain_http != true || var.balancer.certificate_arn == null
    error_message = "balancer.plain_http and balancer.certificate_arn exclude each other."
  }

  validation {
    condition     = alltrue([for cidr in coalesce(var.balancer.allowed_cidrs, []) : can(cidrnetmask(cidr))])
    error_message = "balancer.allowed_cidrs must be IPv4 ranges, as 10.0.0.0/16."
  }

  validation {
    condition     = length(coalesce(var.balancer.allowed_cidrs, [])) > 0 || var.router != null
    error_message = "balancer.allowed_cidrs is empty: nobody could come in. Give the VPC's range, or 0.0.0.0/0 for a load balancer on the internet, or use router."
  }

  validation {
    condition     = var.balancer.client_ca == null || var.balancer.certificate_arn != null
    error_message = "balancer.client_ca needs balancer.certificate_arn: clients show their certificates in TLS."
  }

  validation {
    condition     = var.router == null || (var.balancer.internal == true && var.balancer.certificate_arn == null && var.balancer.plain_http != true)
    error_message = "router needs balancer.internal = true, no certificate_arn (CloudFront knows the balancer by AWS's name for it, which is in no certificate of yours, so it comes through the VPC without TLS) and no plain_http (that is for callers other than the router)."
  }
}

variable "api_key_secret" {
  description = "Name of the secret in Secrets Manager that holds the API key, as the output api_key_secret of the other deployment has it; null makes one."
  type        = string
  default     = null

  validation {
    condition     = var.api_key_secret == null || can(regex("^[A-Za-z0-9/_+=.@-]{1,512}$", var.api_key_secret))
    error_message = "api_key_secret must be a secret's name."
  }

  validation {
    condition     = var.router == null || var.api_key_secret != null
    error_message = "router needs api_key_secret: both back ends must take the same key."
  }
}

variable "api_key_version" {
  description = "A larger number makes a new API key, if it is made here. Tasks take it up when they are started again."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = floor(var.api_key_version) == var.api_key_version && var.api_key_version >= 1
    error_message = "api_key_version must be a whole number, 1 or more."
  }
}

variable "router" {
  description = "One URL for the function and the service: CloudFront in front of both, which sends fargate_percent of the requests to the service."
  type = object({
    function_url    = string                      # the output url of the other deployment
    function        = string                      # its output functions.stream: NAME:ALIAS
    url_auth        = optional(string, "AWS_IAM") # as there
    fargate_percent = optional(number, 0)
    api_key_sha256  = optional(string) # of the API key, in hexadecimal: who hasn't got the key ends at CloudFront
    domain          = optional(object({ name = string, certificate_arn = string }))
  })
  default = null

  validation {
    condition     = var.router == null ? true : can(regex("^https://[a-z0-9]+\\.lambda-url\\.[a-z0-9-]+\\.on\\.aws/?$", var.router.function_url))
    error_message = "router.function_url must be a function URL: https://ID.lambda-url.REGION.on.aws/."
  }

  validation {
    condition     = var.router == null ? true : can(regex("^[A-Za-z0-9_-]{1,64}:[A-Za-z0-9_-]+$", var.router.function))
    error_message = "router.function must be a function's name and alias, as firebrick-stream:live."
  }

  validation {
    condition     = var.router == null ? true : contains(["AWS_IAM", "NONE"], coalesce(var.router.url_auth, "-"))
    error_message = "router.url_auth must be AWS_IAM or NONE, as the function URL has it."
  }

  validation {
    condition     = var.router == null ? true : try(var.router.fargate_percent >= 0 && var.router.fargate_percent <= 100, false)
    error_message = "router.fargate_percent must be from 0 to 100."
  }

  validation {
    condition     = var.router == null ? true : try(var.router.fargate_percent == 0 || var.scaling.maximum > 0, true)
    error_message = "router.fargate_percent above 0 needs tasks: scaling.maximum is 0."
  }

  validation {
    condition     = try(var.router.api_key_sha256, null) == null ? true : can(regex("^[0-9a-f]{64}$", var.router.api_key_sha256))
    error_message = "router.api_key_sha256 must be 64 hexadecimal digits: printf %s \"$FIREBRICK_API_KEY\" | sha256sum."
  }

  validation {
    condition     = try(var.router.url_auth, "NONE") == "NONE" || try(var.router.api_key_sha256, null) != null
    error_message = "router.api_key_sha256 is missing: CloudFront signs for everybody, so with url_auth = \"AWS_IAM\" it must know who may ask, or your function would be open to all."
  }

  validation {
    condition     = try(var.router.domain, null) == null ? true : can(regex("^arn:aws[a-z-]*:acm:us-east-1:[0-9]{12}:certificate/.+$", var.router.domain.certificate_arn))
    error_message = "router.domain.certificate_arn must be a certificate in us-east-1, where CloudFront looks for it."
  }
}

variable "log_retention_days" {
  description = "Of the tasks' log."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days
    )
    error_message = "log_retention_days must be one of CloudWatch's: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 and some longer."
  }
}

variable "kms_key_arn" {
  description = "A key of yours for log and secret; null for AWS's own. Its policy must allow logs.REGION.amazonaws.com."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be a key's ARN: arn:aws:kms:REGION:ACCOUNT:key/ID. An alias may mean another key tomorrow."
  }
}
