# Artefact and code → images in ECR, by the same commands that a person runs. With image_uri nothing here exists but locals.

locals {
  root      = abspath("${path.module}/..")
  model_dir = startswith(var.model_dir, "/") ? var.model_dir : "${local.root}/${var.model_dir}"
  manifest  = try(jsondecode(file("${local.model_dir}/manifest.json")), null)
  python    = fileexists("${local.root}/.venv/bin/python") ? "${local.root}/.venv/bin/python" : "python3"
  targets   = var.worker == null ? ["stream"] : ["stream", "worker"]
  built     = var.image_uri == null ? local.targets : []

  # What an image is made of: the artefact by its manifest, which has every file's hash, and the same files as image/context.py.
  sources = sort(concat(
    tolist(fileset(local.root, "handler/**/*.py")),
    tolist(fileset(local.root, "handler/libfirebrick_kernels.so")),
    tolist(fileset(local.root, "handler/http/static/*")),
    tolist(fileset(local.root, "image/start/*")),
    tolist(fileset(local.root, "build/launcher/release/firebrick-launcher")),
    ["handler/prices.json", "handler/engine/held/model.safetensors"],
    ["Dockerfile", "image/install.py", "requirements/runtime.txt", "requirements/worker.txt"],
  ))
  content = substr(sha256(jsonencode({
    files     = { for path in local.sources : path => filesha256("${local.root}/${path}") }
    artefact  = try(filesha256("${local.model_dir}/manifest.json"), "")
    arguments = var.build_arguments
  })), 0, 16)
  tags = { for target in local.built : target => "${target}-${local.content}" }

  # The weights decide the size; 500 MB are more than all the rest.
  largest_image  = 10 * 1024 * 1024 * 1024
  artefact_bytes = sum(concat([0], [for file in values(try(local.manifest.files, {})) : try(file.size, 0)]))
}

# Fails before anything is created, where nothing could be built.
resource "terraform_data" "builder" {
  count            = var.image_uri == null ? 1 : 0
  triggers_replace = [local.content]

  provisioner "local-exec" {
    command     = "'${local.python}' -m image.publish '${local.model_dir}' --check"
    working_dir = local.root
    environment = var.build_arguments
  }

  lifecycle {
    precondition {
      condition     = local.manifest != null
      error_message = "There is no artefact in ${local.model_dir}: run `make export MODEL=… OUT=${var.model_dir}` (or `make export` for the demo model), or name another directory in model_dir."
    }

    precondition {
      condition     = local.artefact_bytes + 500 * 1024 * 1024 <= local.largest_image
      error_message = "The artefact in ${local.model_dir} has ${local.artefact_bytes} bytes: with Python and the libraries its image would have more than the 10 GB that Lambda takes. Export a smaller model."
    }
  }
}

resource "aws_ecr_repository" "images" {
  count                = var.image_uri == null ? 1 : 0
  name                 = var.name
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true # It holds only what this configuration built, and can build again.

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = var.kms_key_arn == null ? "AES256" : "KMS"
    kms_key         = var.kms_key_arn
  }

  depends_on = [terraform_data.builder]
}

# Whatever an alias uses has a tag, tags never move, and nothing that has a tag expires. Old images share their layers with
# new ones, so they cost little; docs/deploy.md says how to delete them.
resource "aws_ecr_lifecycle_policy" "images" {
  count      = var.image_uri == null ? 1 : 0
  repository = aws_ecr_repository.images[0].name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "what a broken push left"
      selection = {
        tagStatus   = "untagged"
        countType   = "sinceImagePushed"
        countUnit   = "days"
        countNumber = 14
      }
      action = { type = "expire" }
    }]
  })
}

resource "aws_ecr_repository_policy" "images" {
  count      = var.image_uri == null ? 1 : 0
  repository = aws_ecr_repository.images[0].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "LambdaPulls"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Condition = { ArnLike = { "aws:SourceArn" = [for name in local.function_names : "${local.lambda_arn}:${name}"] } }
    }]
  })
}

resource "terraform_data" "image" {
  count            = var.image_uri == null ? 1 : 0
  triggers_replace = [local.content, join(",", local.built), aws_ecr_repository.images[0].repository_url]

  provisioner "local-exec" {
    command = join(" ", concat(
      ["'${local.python}' -m image.publish '${local.model_dir}' --architecture ${var.architecture}"],
      ["--repository '${aws_ecr_repository.images[0].repository_url}'"],
      [for target, tag in local.tags : "--push ${target}:${tag}"],
    ))
    working_dir = local.root
    environment = var.build_arguments
  }
}

data "aws_ecr_image" "built" {
  for_each        = local.tags
  repository_name = aws_ecr_repository.images[0].name
  image_tag       = each.value

  depends_on = [terraform_data.image]
}

locals {
  images = var.image_uri == null ? {
    for target, image in data.aws_ecr_image.built : target => "${aws_ecr_repository.images[0].repository_url}@${image.image_digest}"
  } : { for target, uri in { stream = var.image_uri.stream, worker = var.image_uri.worker } : target => uri if uri != null }
}
