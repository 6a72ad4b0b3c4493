{{- define "modelyard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The operator's name: the release's, with the chart's where that does not contain it. */}}
{{- define "modelyard.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "modelyard.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "modelyard.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "modelyard.operator" -}}
{{ include "modelyard.fullname" . }}-operator
{{- end }}

{{/* Names the collector's CronJob, its account, and the ConfigMap with its report. */}}
{{- define "modelyard.collector" -}}
{{ include "modelyard.fullname" . }}-collector
{{- end }}

{{/* Names the intake service's Deployment, Service and account. */}}
{{- define "modelyard.intake" -}}
{{ include "modelyard.fullname" . }}-intake
{{- end }}

{{/* Where agents find it. */}}
{{- define "modelyard.intake.url" -}}
{{ default (printf "http://%s.%s.svc:8070" (include "modelyard.intake" .) .Release.Namespace) .Values.intake.url }}
{{- end }}

{{- define "modelyard.serviceAccount" -}}
{{ default (include "modelyard.operator" .) .Values.operator.serviceAccount.name }}
{{- end }}

{{/* The operator's user name in admission requests. */}}
{{- define "modelyard.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "modelyard.serviceAccount" . }}
{{- end }}

{{/* Our kinds, as the operator's models register them: a JSON list of files/kinds.yaml. */}}
{{- define "modelyard.kinds" -}}
{{- (.Files.Get "files/kinds.yaml" | fromYaml).kinds | toJson }}
{{- end }}

{{/* The service account of pods that report. Called with (dict "root" $ "who" "trainer"). */}}
{{- define "modelyard.reporterAccount" -}}
{{- index .root.Values.workloads (printf "%sServiceAccount" .who) | default (printf "modelyard-%s" .who) }}
{{- end }}

{{/*
CEL: whether the request comes from a service account of this name, of any namespace. A user's name
that merely ends like it, as an identity provider may allow, is none. Called with the name.
*/}}
{{- define "modelyard.isAccount" -}}
(request.userInfo.username.startsWith('system:serviceaccount:') &&
request.userInfo.username.endsWith(':{{ . }}'))
{{- end }}

{{/*
CEL that depends on the kind of a request. Called with (dict "of" a list of (dict "plural" … "cel" …)
"else" …, used for other kinds); without "else" the last one stands for them.
*/}}
{{- define "modelyard.byKind" -}}
{{- $of := .of }}
{{- if not (hasKey . "else") }}{{ $of = initial .of }}{{ end }}
{{- range $of }}request.resource.resource == '{{ .plural }}' ? {{ .cel }} : {{ end }}
{{- if hasKey . "else" }}{{ .else }}{{ else }}{{ (last .of).cel }}{{ end }}
{{- end }}

{{/* Labels of every object. Called with (dict "root" $ "component" "operator"). */}}
{{- define "modelyard.labels" -}}
{{ include "modelyard.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: modelyard
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "modelyard.selector" -}}
app.kubernetes.io/name: {{ include "modelyard.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Workload namespaces as a JSON list. */}}
{{- define "modelyard.namespaces" -}}
{{- if .Values.workloads.namespaces }}
{{- .Values.workloads.namespaces | uniq | toJson }}
{{- else }}
{{- list .Release.Namespace | toJson }}
{{- end }}
{{- end }}

{{- define "modelyard.podSecurityContext" -}}
{{- toYaml .Values.podSecurityContext }}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "modelyard.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "modelyard.store.fullname" -}}
{{ include "modelyard.fullname" . }}-store
{{- end }}

{{/* Where a namespace's part of the store is, with {namespace} in its place. */}}
{{- define "modelyard.store.url" -}}
{{- if .Values.store.embedded.enabled -}}
s3://{{ .Values.store.embedded.bucket }}-{namespace}
{{- else -}}
{{ .Values.store.url }}
{{- end }}
{{- end }}

{{- define "modelyard.store.endpoint" -}}
{{- if .Values.store.embedded.enabled -}}
http://{{ include "modelyard.store.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.store.embedded.port }}
{{- else -}}
{{ .Values.store.endpoint }}
{{- end }}
{{- end }}

{{/* Whether the chart makes the Secrets with the store's credentials itself: "true" or "". */}}
{{- define "modelyard.store.ownSecret" -}}
{{- if and (not .Values.store.existingSecret) (or .Values.store.embedded.enabled .Values.store.accessKeyId) -}}
true
{{- end }}
{{- end }}

{{/* Secret of the embedded store's root, with the list of all accounts; release namespace. */}}
{{- define "modelyard.store.rootSecret" -}}
{{ default (include "modelyard.store.fullname" .) .Values.store.embedded.existingSecret }}
{{- end }}

{{/* Secret of jobs, in each workload namespace; empty where pods need none. */}}
{{- define "modelyard.store.secret" -}}
{{- if include "modelyard.store.ownSecret" . -}}
{{ include "modelyard.store.fullname" . }}-writer
{{- else -}}
{{ .Values.store.existingSecret }}
{{- end }}
{{- end }}

{{/* Secret of agents, in each workload namespace. */}}
{{- define "modelyard.store.readerSecret" -}}
{{- if .Values.store.existingReaderSecret -}}
{{ .Values.store.existingReaderSecret }}
{{- else if and .Values.store.embedded.enabled (include "modelyard.store.ownSecret" .) -}}
{{ include "modelyard.store.fullname" . }}-reader
{{- else -}}
{{ include "modelyard.store.secret" . }}
{{- end }}
{{- end }}

{{/* Secret of the collector, in the release's namespace. */}}
{{- define "modelyard.store.collectorSecret" -}}
{{- if .Values.store.existingCollectorSecret -}}
{{ .Values.store.existingCollectorSecret }}
{{- else if include "modelyard.store.ownSecret" . -}}
{{ include "modelyard.store.fullname" . }}-collector
{{- end }}
{{- end }}

{{/* Secret of the intake service, in the release's namespace. */}}
{{- define "modelyard.store.intakeSecret" -}}
{{- if .Values.store.existingIntakeSecret -}}
{{ .Values.store.existingIntakeSecret }}
{{- else if include "modelyard.store.ownSecret" . -}}
{{ include "modelyard.store.fullname" . }}-intake
{{- end }}
{{- end }}

{{/* Whether all namespaces share one key that the chart knows: "true" or "". */}}
{{- define "modelyard.store.singleKey" -}}
{{- if and .Values.store.accessKeyId (not .Values.store.embedded.enabled) -}}
true
{{- end }}
{{- end }}

{{/* A random key, as JSON. */}}
{{- define "modelyard.store.randomKey" -}}
{{- dict "accessKeyId" (printf "MY%s" (randAlphaNum 18 | upper)) "secretAccessKey" (randAlphaNum 40) | toJson }}
{{- end }}

{{/*
A key that follows from the root's secret and a use, as JSON; it does not reveal the root's. Hashed
twice, as HMAC does, so that no longer use can be derived from a key.
*/}}
{{- define "modelyard.store.derivedKey" -}}
{{- $root := .root.secretAccessKey }}
{{- $key := printf "%s\n%s" $root (printf "%s\n%s" $root .use | sha256sum) | sha256sum }}
{{- $id := printf "id\n%s" $key | sha256sum | trunc 18 | upper }}
{{- dict "accessKeyId" (printf "MY%s" $id) "secretAccessKey" $key | toJson }}
{{- end }}

{{/* A Secret with one key; further data may follow. */}}
{{- define "modelyard.store.secretObject" -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "modelyard.labels" (dict "root" .root "component" "store") | nindent 4 }}
type: Opaque
data:
  AWS_ACCESS_KEY_ID: {{ .key.accessKeyId | b64enc }}
  AWS_SECRET_ACCESS_KEY: {{ .key.secretAccessKey | b64enc }}
{{- end }}

{{/* Refuses values that contradict each other, before anything is installed. */}}
{{- define "modelyard.check" -}}
{{- $components := (.Files.Get "files/kinds.yaml" | fromYaml).components }}
{{- range $name, $_ := .Values.workloads.resources }}
{{- if not (hasKey $components $name) }}
{{- fail (printf "workloads.resources.%s: there is no such component; choose among %s" $name (keys $components | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- $store := .Values.store }}
{{- if and $store.embedded.enabled $store.url }}
{{- fail (printf "store.url is %s, but the embedded store is enabled too: set store.embedded.enabled=false to use the URL, or empty store.url" $store.url) }}
{{- end }}
{{- if and (not $store.embedded.enabled) (not $store.url) }}
{{- fail "there is no store: set store.embedded.enabled=true, or store.url (and store.endpoint for an S3-compatible server)" }}
{{- end }}
{{- if and (hasPrefix "file://" $store.url) (not $store.claim) }}
{{- fail (printf "store.url %s is a directory: set store.claim to the PersistentVolumeClaim that holds it" $store.url) }}
{{- end }}
{{- if and .Values.intake.enabled (not $store.embedded.enabled) (not (hasPrefix "s3://" $store.url)) }}
{{- fail (printf "intake.enabled: captures can be uploaded to stores on S3 only, not to %s" $store.url) }}
{{- end }}
{{- if and .Values.intake.enabled (not (include "modelyard.store.intakeSecret" .)) }}
{{- fail "intake.enabled: set store.existingIntakeSecret to a Secret with a key that may put objects below captures/ in all parts of the store (docs/store.md)" }}
{{- end }}
{{- if ne (empty $store.accessKeyId) (empty $store.secretAccessKey) }}
{{- fail "store.accessKeyId and store.secretAccessKey belong together: set both, or neither" }}
{{- end }}
{{- if and $store.existingSecret $store.accessKeyId }}
{{- fail "set either store.existingSecret, or store.accessKeyId and store.secretAccessKey" }}
{{- end }}
{{- if and $store.embedded.enabled (ne (empty $store.existingSecret) (empty $store.embedded.existingSecret)) }}
{{- fail "the embedded store knows the keys of store.existingSecret only from store.embedded.existingSecret, the list of all accounts: set both, or neither (docs/store.md)" }}
{{- end }}
{{- if and $store.embedded.enabled (not $store.existingSecret) (or $store.existingReaderSecret $store.existingCollectorSecret $store.existingIntakeSecret) }}
{{- fail "store.existingReaderSecret, store.existingCollectorSecret and store.existingIntakeSecret belong to store.existingSecret: the chart makes the keys of the embedded store, or none of them" }}
{{- end }}
{{- end }}
