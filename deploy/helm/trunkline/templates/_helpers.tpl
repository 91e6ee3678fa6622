{{/* What the names of objects begin with: at most 40 characters, so that all of them stay below 63. */}}
{{- define "trunkline.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "trunkline.labels" -}}
{{ include "trunkline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: trunkline
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the release's pods have in common, and never changes. */}}
{{- define "trunkline.selector" -}}
app.kubernetes.io/name: trunkline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of pods: without the chart's version, so that another chart alone starts no pod anew. */}}
{{- define "trunkline.podLabels" -}}
{{ include "trunkline.selector" . }}
app.kubernetes.io/part-of: trunkline
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "trunkline.image" -}}
{{- $repository := required "image.repository: name the image with your flows, as registry.example.com/acme/flows" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "trunkline.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "trunkline.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/*
The workers of the release, as JSON: {"list": [{"name", "flow", "file", "worker", …settings}]}. What a
worker does not say is as in .Values.worker; maps are merged, lists are taken whole.
*/}}
{{- define "trunkline.workers" -}}
{{- $workers := list -}}
{{- range $flow, $about := .Values.flows -}}
{{- $several := $about.workers | default (dict "all" dict) -}}
{{- range $worker, $own := $several -}}
{{- $settings := mergeOverwrite (deepCopy $.Values.worker) (deepCopy ($own | default dict)) -}}
{{- if and $own (hasKey $own "strategy") -}}{{- $_ := set $settings "strategy" $own.strategy -}}{{- end -}}
{{- $name := printf "%s-%s" $flow $worker | trimSuffix "-all" -}}
{{- $workers = append $workers (mergeOverwrite $settings (dict "name" $name "flow" $flow "file" $about.file "worker" $worker)) -}}
{{- end -}}
{{- end -}}
{{ dict "list" $workers | toJson }}
{{- end -}}

{{/* Every pod's security: restricted, as Kubernetes' Pod Security Standards name it. */}}
{{- define "trunkline.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "trunkline.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Variables of a container. Takes {"root", "env": of the worker}. */}}
{{- define "trunkline.env" -}}
- name: TRUNKLINE_DATA
  value: /data
{{- range $name, $from := .root.Values.secrets }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- with concat .root.Values.extraEnv .env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "trunkline.environmentFile" -}}
{{ .Values.environment.name }}.toml: |
{{- .Values.environment.file | toToml | nindent 2 }}
{{- end -}}

{{/* environments/<name>.toml, in the image's working folder. Takes {"root", "config": the ConfigMap's name}. */}}
{{- define "trunkline.environmentMount" -}}
{{- if .root.Values.environment.file }}
- name: environment
  mountPath: /app/environments/{{ .root.Values.environment.name }}.toml
  subPath: {{ .root.Values.environment.name }}.toml
  readOnly: true
{{- end }}
{{- end -}}

{{- define "trunkline.environmentVolume" -}}
{{- if .root.Values.environment.file }}
- name: environment
  configMap:
    name: {{ .config }}
{{- end }}
{{- end -}}
