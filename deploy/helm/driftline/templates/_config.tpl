{{/* The configuration of the service, and what can be known of it before anything runs. */}}

{{/* The configuration as a mapping, as YAML; empty if it is in a ConfigMap that is there already. */}}
{{- define "driftline.config.read" -}}
{{- if kindIs "string" .Values.config -}}
{{- $read := fromYaml .Values.config -}}
{{- if hasKey $read "Error" -}}
{{- fail (printf "config: is not YAML: %s" (get $read "Error")) -}}
{{- end -}}
{{- toYaml $read -}}
{{- else if .Values.config -}}
{{- $config := deepCopy .Values.config -}}
{{- $http := get $config "http" | default dict -}}
{{- if not (hasKey $http "host") -}}
{{- $_ := set $http "host" "0.0.0.0" -}}
{{- end -}}
{{- $_ := set $config "http" $http -}}
{{- toYaml $config -}}
{{- else -}}
{}
{{- end -}}
{{- end }}

{{/* The text of driftline.yaml. A mapping without http.host is given one that other pods can reach; text stays as it is. */}}
{{- define "driftline.config.text" -}}
{{- if kindIs "string" .Values.config -}}
{{- .Values.config -}}
{{- else -}}
{{- include "driftline.config.read" . -}}
{{- end -}}
{{- end }}

{{- define "driftline.configMapName" -}}
{{- .Values.existingConfigMap.name | default (include "driftline.fullname" .) -}}
{{- end }}

{{- define "driftline.configMapKey" -}}
{{- if .Values.existingConfigMap.name }}{{ .Values.existingConfigMap.key }}{{ else }}driftline.yaml{{ end -}}
{{- end }}

{{/*
Every option that says where a secret or a file is, as a list under `found`: its `place`, its `value`, whether that is the path
of a file, and whether only evaluators need it. They are in the mappings that are listed here, and nowhere deeper.
*/}}
{{- define "driftline.config.pointers" -}}
{{- $config := include "driftline.config.read" . | fromYaml -}}
{{- $http := $config.http | default dict -}}
{{- $sections := list
  (list "config" $config false)
  (list "config.kafka.options" (dig "kafka" "options" dict $config) false)
  (list "config.registry" ($config.registry | default dict) false)
  (list "config.http.events" ($http.events | default dict) false)
  (list "config.http.mlflow" ($http.mlflow | default dict) false)
  (list "config.http.sign_in" ($http.sign_in | default dict) false)
  (list "config.tracing" ($config.tracing | default dict) false)
  (list "config.defaults.reference" (dig "defaults" "reference" dict $config) false)
-}}
{{- range $name, $options := $config.receivers | default dict -}}
{{- $sections = append $sections (list (printf "config.receivers.%s" $name) $options true) -}}
{{- end -}}
{{- range $name, $options := $config.models | default dict -}}
{{- $sections = append $sections (list (printf "config.models.%s.reference" $name) ($options.reference | default dict) false) -}}
{{- end -}}
{{- $found := list -}}
{{- range $sections -}}
{{- $place := first . -}}
{{- $evaluate := last . -}}
{{- range $key, $value := index . 1 -}}
{{- $isFile := or (hasSuffix "_file" $key) (hasSuffix ".location" $key) (eq $key "file") -}}
{{- if and (kindIs "string" $value) (or (hasSuffix "_env" $key) $isFile) -}}
{{- $found = append $found (dict "place" (printf "%s.%s" $place $key) "isFile" $isFile "value" $value "evaluate" $evaluate) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "found" $found) -}}
{{- end }}
