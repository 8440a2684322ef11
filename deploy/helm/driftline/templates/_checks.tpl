{{/* What would fail only once pods run is refused here, with what to do. */}}

{{- define "driftline.check" -}}
{{- include "driftline.check.needed" . -}}
{{- if .Values.config -}}
{{- $config := include "driftline.config.read" . | fromYaml -}}
{{- include "driftline.check.http" (dict "http" ($config.http | default dict)) -}}
{{- include "driftline.check.database" (dict "config" $config) -}}
{{- include "driftline.check.pointers" . -}}
{{- include "driftline.check.metrics" (dict "http" ($config.http | default dict) "podMonitor" .Values.podMonitor) -}}
{{- end -}}
{{- include "driftline.check.mounts" . -}}
{{- include "driftline.check.scaling" . -}}
{{- end }}

{{- define "driftline.check.needed" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository: is required: where you have pushed the image that deploy/container/Dockerfile makes (registry.example.org/driftline)" -}}
{{- end -}}
{{- if and .Values.config .Values.existingConfigMap.name -}}
{{- fail "existingConfigMap.name: stands beside config (give one of them)" -}}
{{- end -}}
{{- if not (or .Values.config .Values.existingConfigMap.name) -}}
{{- fail "config: is required: the content of driftline.yaml, as YAML or as text; or existingConfigMap.name, a ConfigMap that has it" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host: is required with ingress.enabled (driftline.example.org)" -}}
{{- end -}}
{{- end }}

{{- define "driftline.check.http" -}}
{{- $host := .http.host | default "127.0.0.1" -}}
{{- if or (hasPrefix "127." $host) (has $host (list "localhost" "::1")) -}}
{{- fail (printf "config.http.host: nobody outside the pod reaches %s, probes neither (use 0.0.0.0)" $host) -}}
{{- end -}}
{{- if not (or .http.sign_in .http.allow_anonymous) -}}
{{- fail "config.http: says not who may come in, and other pods can reach it (use sign_in with type oidc or proxy; or allow_anonymous: true, where everybody who reaches the port may read)" -}}
{{- end -}}
{{- end }}

{{- define "driftline.check.database" -}}
{{- if hasPrefix "sqlite" (.config.database_url | default "") -}}
{{- fail "config.database_url: the roles run in pods of their own and share one database: it has to be PostgreSQL (use database_url_env and secretEnv)" -}}
{{- end -}}
{{- end }}

{{- define "driftline.check.pointers" -}}
{{- $all := keys .Values.secretEnv -}}
{{- $evaluate := concat $all (keys .Values.evaluate.secretEnv) -}}
{{- $mounts := list -}}
{{- range .Values.secretFiles -}}{{- $mounts = append $mounts .mountPath -}}{{- end -}}
{{- range .Values.extraVolumeMounts -}}{{- $mounts = append $mounts .mountPath -}}{{- end -}}
{{- $fromAll := .Values.envFrom -}}
{{- $fromEvaluate := concat $fromAll .Values.evaluate.envFrom -}}
{{- $plain := .Values.env -}}
{{- range (include "driftline.config.pointers" . | fromYaml).found -}}
{{- if .isFile -}}
{{- $path := .value -}}
{{- /* Of the system's own, the image has the usual ones: authorities above all. */ -}}
{{- $isThere := or (hasPrefix "/etc/ssl/" $path) (hasPrefix "/usr/" $path) -}}
{{- range $mounts -}}{{- if or (eq $path .) (hasPrefix (printf "%s/" (trimSuffix "/" .)) $path) -}}{{- $isThere = true -}}{{- end -}}{{- end -}}
{{- if and (hasPrefix "/" $path) (not $isThere) -}}
{{- fail (printf "%s: nothing is mounted at %s (add a Secret under secretFiles, or a volume under extraVolumes and extraVolumeMounts)" .place $path) -}}
{{- end -}}
{{- else if hasKey $plain .value -}}
{{- fail (printf "env.%s: is a secret, as %s names it (give it under secretEnv, by reference)" .value .place) -}}
{{- else if .evaluate -}}
{{- if not (or (has .value $evaluate) $fromEvaluate) -}}
{{- fail (printf "%s: no evaluator is given the environment variable %s (add it to evaluate.secretEnv: {%s: {name: SECRET, key: KEY}})" .place .value .value) -}}
{{- end -}}
{{- else if not (or (has .value $all) $fromAll) -}}
{{- fail (printf "%s: pods are not given the environment variable %s (add it to secretEnv: {%s: {name: SECRET, key: KEY}})" .place .value .value) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "driftline.check.mounts" -}}
{{- range concat .Values.secretFiles .Values.extraVolumeMounts -}}
{{- if or (eq .mountPath "/etc/driftline") (hasPrefix "/etc/driftline/" .mountPath) -}}
{{- fail (printf "mountPath: %s lies where the ConfigMap is mounted, in which nothing else can be (use a path such as /var/run/driftline)" .mountPath) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "driftline.check.metrics" -}}
{{- if and .podMonitor.enabled .http.metrics_need_token (not .podMonitor.tokenSecret.name) -}}
{{- fail "podMonitor.tokenSecret.name: is required with config.http.metrics_need_token: a Secret with an API token of the role viewer (driftline token create)" -}}
{{- end -}}
{{- end }}

{{- define "driftline.check.scaling" -}}
{{- range $role := list "ingest" "evaluate" -}}
{{- $scaling := (get $.Values $role).autoscaling -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "%s.autoscaling.minReplicas: %d is more than maxReplicas, %d" $role (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- $keda := .Values.ingest.autoscaling -}}
{{- if $keda.enabled -}}
{{- $config := include "driftline.config.read" . | fromYaml -}}
{{- if not (or $config (and $keda.bootstrapServers $keda.topics)) -}}
{{- fail "ingest.autoscaling: needs bootstrapServers and topics, since the configuration is in a ConfigMap of its own" -}}
{{- end -}}
{{- $protocol := dig "kafka" "options" "security.protocol" "plaintext" $config | lower -}}
{{- if and (hasSuffix "ssl" $protocol) (not $keda.tls) -}}
{{- fail (printf "ingest.autoscaling.tls: has to be true, as config.kafka.options says security.protocol %s" $protocol) -}}
{{- end -}}
{{- if and (hasPrefix "sasl" $protocol) (eq $keda.sasl "none") -}}
{{- fail (printf "ingest.autoscaling.sasl: has to be a mechanism, as config.kafka.options says security.protocol %s (use plaintext, scram_sha256, scram_sha512)" $protocol) -}}
{{- end -}}
{{- if and (ne $keda.sasl "none") (not (or $keda.authentication.existing $keda.authentication.secrets)) -}}
{{- fail "ingest.autoscaling.authentication: KEDA signs in to Kafka itself (use secrets: [{parameter: username, name: SECRET, key: KEY}, {parameter: password, …}], or existing, a TriggerAuthentication)" -}}
{{- end -}}
{{- end -}}
{{- end }}
