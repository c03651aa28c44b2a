# Artefact → images → repository, or images that are there already.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  region    = "eu-central-1"
  model_dir = "terraform/tests/fixtures/artefact"
}

run "no_artefact" {
  command = plan

  variables {
    model_dir = "terraform/tests/fixtures/missing"
  }

  expect_failures = [terraform_data.builder]
}

run "an_artefact_too_large_for_an_image" {
  command = plan

  variables {
    model_dir = "terraform/tests/fixtures/too_large"
  }

  expect_failures = [terraform_data.builder]
}

run "built" {
  command = plan

  variables {
    name            = "mine"
    worker          = {}
    build_arguments = { BASE_IMAGE = "registry/base" }
  }

  override_resource {
    target          = aws_ecr_repository.images
    override_during = plan
    values          = { repository_url = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mine" }
  }

  assert {
    condition     = local.manifest != null && strcontains(join(" ", local.sources), "handler/artefact.py")
    error_message = "The artefact and the code must decide the tag."
  }

  assert {
    condition = length(local.tags) == 2 && alltrue([
      for target, tag in local.tags : can(regex("^${target}-[0-9a-f]{16}$", tag))
    ])
    error_message = "An image's tag must be its target and a hash of what it is made of."
  }

  assert {
    condition     = terraform_data.image[0].triggers_replace[0] == local.content && terraform_data.builder[0].triggers_replace[0] == local.content
    error_message = "Other content must be built anew."
  }

  assert {
    condition     = toset(keys(data.aws_ecr_image.built)) == toset(["stream", "worker"])
    error_message = "Each built image must be looked up in the repository, by its tag, for its digest."
  }

  assert {
    condition     = aws_ecr_repository.images[0].name == "mine" && aws_ecr_repository.images[0].image_tag_mutability == "IMMUTABLE"
    error_message = "A tag must never move."
  }

  assert {
    condition     = aws_ecr_repository.images[0].image_scanning_configuration[0].scan_on_push
    error_message = "Images must be scanned when they are pushed."
  }

  assert {
    condition     = aws_ecr_repository.images[0].encryption_configuration[0].encryption_type == "AES256"
    error_message = "Without a key of the user's AWS encrypts by itself."
  }

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.images[0].policy).rules : rule.selection.tagStatus] == ["untagged"]
    error_message = "Only images without a tag may expire: an alias may use any other."
  }
}

run "given" {
  command = plan

  variables {
    model_dir = "terraform/tests/fixtures/missing"
    worker    = {}
    image_uri = {
      stream = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/a@sha256:${sha256("stream")}"
      worker = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/a@sha256:${sha256("worker")}"
    }
  }

  assert {
    condition     = aws_lambda_function.stream.image_uri == var.image_uri.stream && aws_lambda_function.worker[0].image_uri == var.image_uri.worker
    error_message = "Each function must run the image that it was given, by digest."
  }

  assert {
    condition     = output.images == tomap({ stream = var.image_uri.stream, worker = var.image_uri.worker })
    error_message = "The outputs must say what runs."
  }

  assert {
    condition = sum([
      length(terraform_data.builder), length(terraform_data.image), length(aws_ecr_repository.images),
      length(aws_ecr_repository_policy.images), length(aws_ecr_lifecycle_policy.images), length(data.aws_ecr_image.built),
    ]) == 0
    error_message = "With images given nothing may be built, nor a repository be made."
  }
}
