{{/* Annotations of what the upgrade of the database needs, by weight. A Job that failed stays, with its log, until the next try. */}}
{{- define "driftline.migrate.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
