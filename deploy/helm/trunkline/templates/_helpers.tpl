{{/* What the names of objects begin with: at most 40 characters, so that all of them stay below 63. */}}
{{- define "trunkline.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of every object. Those that choose pods are the chart's own, whatever commonLabels say. */}}
{{- define "trunkline.labels" -}}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" -}}
{{- $own := dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service "helm.sh/chart" $chart -}}
{{- include "trunkline.labelsWith" (dict "root" . "own" $own) -}}
{{- end -}}

{{/* What the release's pods have in common, and never changes. */}}
{{- define "trunkline.selector" -}}
app.kubernetes.io/name: trunkline
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* What chooses the pods of one worker. Takes {"root", "worker"}. */}}
{{- define "trunkline.workerSelector" -}}
{{ include "trunkline.selector" .root }}
{{ .worker.labels | toYaml }}
{{- end -}}

{{/*
Labels, each once: an object with one twice is not taken. Takes {"root", "own": the object's, "more": by
the user}. Pods have them without the chart's version, so that another chart alone starts none anew.
*/}}
{{- define "trunkline.labelsWith" -}}
{{- $given := mergeOverwrite (dict "app.kubernetes.io/part-of" "trunkline") (deepCopy (.root.Values.commonLabels | default dict)) (deepCopy (.more | default dict)) -}}
{{ mergeOverwrite $given .own (include "trunkline.selector" .root | fromYaml) | toYaml }}
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
What each workload runs, as JSON: {"list": [{"labels", "suffix": of its name, "place": in the values,
"files": of its flows, "own": what it says}]}. First the flows that are in no group, then the groups.
*/}}
{{- define "trunkline.units" -}}
{{- $units := list -}}
{{- $grouped := dict -}}
{{- range $flow, $about := .Values.flows -}}
{{- $group := $about.group | default "" -}}
{{- if $group -}}
{{- if hasKey $about "workers" -}}{{- fail (printf "flows.%s: a flow of a group has no workers of its own: groups.%s says how they are" $flow $group) -}}{{- end -}}
{{- if not (hasKey ($.Values.groups | default dict) $group) -}}{{- fail (printf "flows.%s.group: there is no groups.%s" $flow $group) -}}{{- end -}}
{{- $_ := set $grouped $group (append (get $grouped $group | default list) $about.file) -}}
{{- else -}}
{{- range $worker, $own := $about.workers | default (dict "all" dict) -}}
{{- $labels := dict "trunkline/flow" $flow "trunkline/worker" $worker -}}
{{- $suffix := printf "%s-%s" $flow $worker | trimSuffix "-all" -}}
{{- $units = append $units (dict "labels" $labels "suffix" $suffix "place" (printf "flows.%s, worker %s" $flow $worker) "files" (list $about.file) "own" $own) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $group, $own := .Values.groups -}}
{{- $files := get $grouped $group | default list -}}
{{- if not $files -}}{{- fail (printf "groups.%s: no flow is in it: say `group: %s` of one, or leave it out" $group $group) -}}{{- end -}}
{{- $units = append $units (dict "labels" (dict "trunkline/group" $group) "suffix" $group "place" (printf "groups.%s" $group) "files" $files "own" $own) -}}
{{- end -}}
{{ dict "list" $units | toJson }}
{{- end -}}

{{/*
The workers of the release, as JSON: {"list": [{"name", "labels", "files", …settings}]}. What a
worker does not say is as in .Values.worker; maps are merged, lists are taken whole. A name has at most
52 characters, since a StatefulSet's pods have it with ten more in a label; one that would be longer ends
in its hash, so that two that begin alike stay two.
*/}}
{{- define "trunkline.workers" -}}
{{- $workers := list -}}
{{- $fullname := include "trunkline.fullname" . -}}
{{- $taken := dict (printf "%s-workers" $fullname) "the release's Service" (printf "%s-scaler" $fullname) "the scaler" (printf "%s-gateway" $fullname) "the gateway" -}}
{{- range $unit := (include "trunkline.units" . | fromJson).list -}}
{{- $own := $unit.own | default dict -}}
{{- $settings := mergeOverwrite (deepCopy $.Values.worker) (deepCopy $own) -}}
{{- if hasKey $own "strategy" -}}{{- $_ := set $settings "strategy" $own.strategy -}}{{- end -}}
{{- /* Values are merged, so that who says Recreate alone has the default's rollingUpdate beside it. */ -}}
{{- if eq ($settings.strategy.type | default "RollingUpdate") "Recreate" -}}
{{- $_ := set $settings "strategy" (dict "type" "Recreate") -}}
{{- end -}}
{{- $name := printf "%s-%s" $fullname $unit.suffix -}}
{{- if gt (len $name) 52 -}}
{{- $name = printf "%s-%s" ($name | trunc 43 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- end -}}
{{- $place := $unit.place -}}
{{- with get $taken $name -}}{{- fail (printf "%s and %s would both be %s: rename one of them" $place . $name) -}}{{- end -}}
{{- $_ := set $taken $name $place -}}
{{- $numbers := concat (list 8090) (values ($settings.ports | default dict)) -}}
{{- if or (hasKey ($settings.ports | default dict) "health") (ne (len (uniq (toStrings $numbers))) (len $numbers)) -}}
{{- fail (printf "%s: each of ports has a number of its own, and neither 8090 nor the name health, which the health pages have" $place) -}}
{{- end -}}
{{- include "trunkline.requireScalable" (dict "worker" $settings "place" $place) -}}
{{- include "trunkline.requireMembership" (dict "root" $ "worker" $settings "place" $place) -}}
{{- $workers = append $workers (mergeOverwrite $settings (dict "name" $name "labels" $unit.labels "files" $unit.files)) -}}
{{- end -}}
{{ dict "list" $workers | toJson }}
{{- end -}}

{{/* Refuses what cannot be scaled. Takes {"worker": its settings, "place": its name for people}. */}}
{{- define "trunkline.requireScalable" -}}
{{- $scaling := .worker.scaling -}}
{{- if $scaling.enabled -}}
{{- $least := int $scaling.min -}}
{{- if and (has "source" .worker.steps) (lt $least 1) -}}
{{- fail (printf "%s: a source must always run, so that scaling.min is 1 at the least; or give it a worker of its own" .place) -}}
{{- end -}}
{{- if not (or (has "route" .worker.steps) (has "deliver" .worker.steps)) -}}
{{- fail (printf "%s: of a source one pod is active, and there is nothing to scale: leave scaling out" .place) -}}
{{- end -}}
{{- if lt (int $scaling.max) $least -}}
{{- fail (printf "%s: scaling.max is below scaling.min" .place) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Refuses a group.instance.id that would harm. One that is written out would be the same for all pods, of
which Kafka then lets one live; and the partitions of a static member that is scaled away stand still
until its session is over. Takes {"root", "worker", "place"}.
*/}}
{{- define "trunkline.requireMembership" -}}
{{- if and .worker.static .worker.scaling.enabled -}}
{{- fail (printf "%s: static makes the partitions of a pod that is scaled away stand still: leave it out where KEDA scales" .place) -}}
{{- end -}}
{{- $file := .root.Values.environment.file.trunkline | default dict -}}
{{- $given := or (contains "group.instance.id" (toJson $file)) (dig "kafka" "group" "instance" "" $file) -}}
{{- range concat (.root.Values.extraEnv | default list) (.worker.extraEnv | default list) -}}
{{- if eq .name "TRUNKLINE_KAFKA__GROUP_INSTANCE_ID" -}}{{- $given = true -}}{{- end -}}
{{- end -}}
{{- if $given -}}
{{- fail (printf "%s: group.instance.id would be the same for all pods: leave it out, and set static, which names each by its pod" .place) -}}
{{- end -}}
{{- end -}}

{{/* What kind of workload a worker is: with a disk, or as static members, its pods keep their names. */}}
{{- define "trunkline.workloadKind" -}}
{{- ternary "StatefulSet" "Deployment" (or .static (ne .data.size "")) -}}
{{- end -}}

{{/* The files of the flows that KEDA scales, each once, as JSON: {"list"}. */}}
{{- define "trunkline.scaledFlows" -}}
{{- $files := list -}}
{{- range (include "trunkline.workers" . | fromJson).list -}}
{{- if .scaling.enabled -}}{{- $files = concat $files .files -}}{{- end -}}
{{- end -}}
{{ dict "list" (uniq $files) | toJson }}
{{- end -}}

{{/* The files of the flows that the gateway serves, each once, as JSON: {"list"}. */}}
{{- define "trunkline.gatewayFlows" -}}
{{- $files := list -}}
{{- range .Values.gateway.flows | default (keys (.Values.flows | default dict) | sortAlpha) -}}
{{- $about := get ($.Values.flows | default dict) . -}}
{{- if not $about -}}{{- fail (printf "gateway.flows: there is no flows.%s" .) -}}{{- end -}}
{{- $files = append $files $about.file -}}
{{- end -}}
{{- if not $files -}}{{- fail "gateway.enabled: there is no flow whose operations it could serve: set flows" -}}{{- end -}}
{{ dict "list" (uniq $files) | toJson }}
{{- end -}}

{{/*
Seconds before SIGTERM in which a pod that ends still answers: whoever sends to its Service learns only
meanwhile that it is gone. For pods that have a Service alone.
*/}}
{{- define "trunkline.stopAfterService" -}}
lifecycle:
  preStop:
    exec: {command: [sleep, "5"]}
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
      name: {{ $from.name | quote }}
      key: {{ $from.key | quote }}
{{- end }}
{{- with concat (.root.Values.extraEnv | default list) (.env | default list) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Makes whole numbers integers: Helm reads all numbers as floats, and TOML would have 12.0 partitions and
2.592e+09 milliseconds. Takes {"value"}, and changes it there.
*/}}
{{- define "trunkline.integers" -}}
{{- $value := .value -}}
{{- if kindIs "map" $value -}}
{{- range $name, $inner := $value -}}
{{- $box := dict "value" $inner -}}
{{- include "trunkline.integers" $box -}}
{{- $_ := set $value $name $box.value -}}
{{- end -}}
{{- else if kindIs "slice" $value -}}
{{- $all := list -}}
{{- range $value -}}
{{- $box := dict "value" . -}}
{{- include "trunkline.integers" $box -}}
{{- $all = append $all $box.value -}}
{{- end -}}
{{- $_ := set . "value" $all -}}
{{- else if and (kindIs "float64" $value) (eq (floor $value) $value) -}}
{{- $_ := set . "value" (int64 $value) -}}
{{- end -}}
{{- end -}}

{{- define "trunkline.environmentFile" -}}
{{- $box := dict "value" (deepCopy .Values.environment.file) -}}
{{- include "trunkline.integers" $box -}}
{{- $toml := toToml $box.value -}}
{{- if hasPrefix "toml: " $toml -}}{{- fail (printf "environment.file cannot be written as TOML, which has no null: %s" $toml) -}}{{- end -}}
{{ .Values.environment.name }}.toml: |
{{- $toml | nindent 2 }}
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
    name: {{ .config | quote }}
{{- end }}
{{- end -}}
