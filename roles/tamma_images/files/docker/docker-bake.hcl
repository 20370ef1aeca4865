# Tamma's five images. Everything that differs between sites is a variable, which the environment sets:
#   TAMMA_SOURCE=<checkout of Tamma> TAMMA_FILES=$PWD docker buildx bake --file docker-bake.hcl

variable "TAMMA_REGISTRY" { default = "ghcr.io/meywd" }
# Separated by commas.
variable "TAMMA_TAGS" { default = "latest" }
variable "TAMMA_SOURCE" { default = "." }
# For the labels.
variable "TAMMA_SOURCE_URL" { default = "https://github.com/meywd/tamma" }
variable "TAMMA_REVISION" { default = "" }
variable "TAMMA_VERSION" { default = "" }
# What the images are made by and of, as the role counts it.
variable "TAMMA_RECIPE" { default = "" }
# Directories: of this file, as an absolute path, and of the dashboard's nginx template.
variable "TAMMA_FILES" { default = "." }
variable "TAMMA_NGINX" { default = "../../../tamma_stack/files/nginx" }

variable "NODE_IMAGE" { default = "node:22.23.3-trixie-slim" }
variable "NGINX_IMAGE" { default = "nginx:1.28-alpine-slim" }
variable "DOTNET_SDK_IMAGE" { default = "mcr.microsoft.com/dotnet/sdk:8.0" }
variable "ASPNET_IMAGE" { default = "mcr.microsoft.com/dotnet/aspnet:8.0" }
variable "CLAUDE_VERSION" { default = "2.1.332" }
variable "NPM_CONFIG_REGISTRY" { default = "https://registry.npmjs.org/" }
# The date of the commit: two builds of it are then the same.
variable "SOURCE_DATE_EPOCH" { default = "0" }

group "default" {
  targets = ["typescript", "tamma-elsa", "tamma-api-dotnet"]
}

group "typescript" {
  targets = ["tamma-api", "tamma-engine", "tamma-dashboard"]
}

function "tags" {
  params = [name]
  result = [for tag in split(",", TAMMA_TAGS) : "${TAMMA_REGISTRY}/${name}:${tag}"]
}

function "labels" {
  params = [title]
  result = {
    "org.opencontainers.image.title"    = title
    "org.opencontainers.image.source"   = TAMMA_SOURCE_URL
    "org.opencontainers.image.revision" = TAMMA_REVISION
    "org.opencontainers.image.version"  = TAMMA_VERSION
    "tamma.recipe"                      = TAMMA_RECIPE
  }
}

target "node" {
  context    = TAMMA_SOURCE
  dockerfile = "${TAMMA_FILES}/typescript.Dockerfile"
  contexts   = { files = TAMMA_FILES }
  args = {
    NODE_IMAGE          = NODE_IMAGE
    NPM_CONFIG_REGISTRY = NPM_CONFIG_REGISTRY
    SOURCE_DATE_EPOCH   = SOURCE_DATE_EPOCH
    TAMMA_DATE          = SOURCE_DATE_EPOCH
  }
}

target "dotnet" {
  context  = TAMMA_SOURCE
  contexts = { files = TAMMA_FILES }
  args = {
    DOTNET_SDK_IMAGE  = DOTNET_SDK_IMAGE
    ASPNET_IMAGE      = ASPNET_IMAGE
    SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH
    TAMMA_DATE        = SOURCE_DATE_EPOCH
  }
}

target "tamma-api" {
  inherits = ["node"]
  target   = "tamma-api"
  tags     = tags("tamma-api")
  labels   = labels("tamma-api")
}

target "tamma-engine" {
  inherits = ["node"]
  target   = "tamma-engine"
  args     = { CLAUDE_VERSION = CLAUDE_VERSION }
  tags     = tags("tamma-engine")
  labels   = labels("tamma-engine")
}

target "tamma-dashboard" {
  inherits   = ["node"]
  dockerfile = "${TAMMA_FILES}/dashboard.Dockerfile"
  contexts   = { nginx = TAMMA_NGINX }
  args       = { NGINX_IMAGE = NGINX_IMAGE }
  tags       = tags("tamma-dashboard")
  labels     = labels("tamma-dashboard")
}

target "tamma-elsa" {
  inherits   = ["dotnet"]
  dockerfile = "${TAMMA_FILES}/elsa.Dockerfile"
  tags       = tags("tamma-elsa")
  labels     = labels("tamma-elsa")
}

target "tamma-api-dotnet" {
  inherits   = ["dotnet"]
  dockerfile = "${TAMMA_FILES}/api-dotnet.Dockerfile"
  tags       = tags("tamma-api-dotnet")
  labels     = labels("tamma-api-dotnet")
}
