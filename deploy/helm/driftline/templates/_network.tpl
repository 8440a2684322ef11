{{/* Rules of network policies. */}}

{{/* Ports of Kafka: those that are given, else those of kafka.bootstrap_servers. */}}
{{- define "driftline.network.kafkaPorts" -}}
{{- $config := include "driftline.config.read" . | fromYaml -}}
{{- $ports := .Values.networkPolicy.egress.kafka.ports -}}
{{- if not $ports -}}
{{- range splitList "," (dig "kafka" "bootstrap_servers" "" $config) -}}
{{- $port := regexFind "[0-9]+$" (trim .) -}}
{{- if $port -}}{{- $ports = append $ports (int $port) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "ports" ($ports | default (list 9092) | uniq)) -}}
{{- end }}

{{/* Ports of PostgreSQL: those that are given, else that of database_url. */}}
{{- define "driftline.network.databasePorts" -}}
{{- $url := (include "driftline.config.read" . | fromYaml).database_url | default "" -}}
{{- $host := regexFind "://[^/?]*" $url -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" | default "5432" -}}
{{- toYaml (dict "ports" (.Values.networkPolicy.egress.database.ports | default (list (int $port)))) -}}
{{- end }}

{{/*
Ports of what the configuration names: those that are given as `ports`, else those of the addresses `urls`, and those of
`usual` beside them.
*/}}
{{- define "driftline.network.portsOf" -}}
{{- $ports := .ports -}}
{{- if not $ports -}}
{{- $ports = .usual | default list -}}
{{- range .urls -}}
{{- if . -}}
{{- $address := urlParse . -}}
{{- $default := eq $address.scheme "http" | ternary "80" "443" -}}
{{- $ports = append $ports (int (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $address.host) | default $default)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "ports" ($ports | uniq)) -}}
{{- end }}

{{/* What the receivers of alerts and the pipelines need beside HTTPS: their addresses under `urls`, and ports of mail under `usual`. */}}
{{- define "driftline.network.receivers" -}}
{{- $urls := list -}}
{{- $ports := list 443 -}}
{{- range (include "driftline.config.read" . | fromYaml).receivers -}}
{{- $urls = concat $urls (compact (list .url .base_url .status_url)) -}}
{{- if eq (.type | default "") "email" -}}
{{- $ports = append $ports (int (.port | default (get (dict "starttls" 587 "tls" 465 "none" 25) (.security | default "starttls")))) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "urls" $urls "usual" $ports) -}}
{{- end }}

{{/* Rules for what the pods of a role reach: `wanted` names them. */}}
{{- define "driftline.network.egress" -}}
{{- $egress := .root.Values.networkPolicy.egress -}}
{{- $config := include "driftline.config.read" .root | fromYaml -}}
{{- $signIn := ($config.http | default dict).sign_in | default dict -}}
{{- $options := ($config.kafka | default dict).options | default dict -}}
{{- $named := dict
  "registry" (dict "urls" (list ($config.registry | default dict).url))
  "tracing" (dict "urls" (list ($config.tracing | default dict).endpoint))
  "kafkaLogin" (dict "urls" (list (get $options "sasl.oauthbearer.token.endpoint.url")))
  "signIn" (dict "urls" (list $signIn.issuer) "usual" (list 443))
  "receivers" (include "driftline.network.receivers" .root | fromYaml)
-}}
{{- range .wanted }}
{{- $rule := get $egress . -}}
{{- $ports := $rule.ports -}}
{{- if eq . "kafka" }}{{- $ports = (include "driftline.network.kafkaPorts" $.root | fromYaml).ports }}{{- end }}
{{- if eq . "database" }}{{- $ports = (include "driftline.network.databasePorts" $.root | fromYaml).ports }}{{- end }}
{{- if hasKey $named . }}{{- $ports = (include "driftline.network.portsOf" (merge (dict "ports" $ports) (get $named .)) | fromYaml).ports }}{{- end }}
{{- if $ports }}
- ports:
    {{- range $ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
    {{- if eq . "dns" }}
    {{- range $ports }}
    - {protocol: UDP, port: {{ . }}}
    {{- end }}
    {{- end }}
  {{- with $rule.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- with $egress.extra }}
{{ toYaml . }}
{{- end }}
{{- end }}
