"""Configuration: TOML to checked, frozen values and back; machines from texts of real computers."""

from __future__ import annotations

from memhub.config.audit import AuditConfig as AuditConfig
from memhub.config.emit import to_toml as to_toml
from memhub.config.errors import ConfigError as ConfigError
from memhub.config.errors import Problem as Problem
from memhub.config.hub import HubConfig as HubConfig
from memhub.config.hub import load_config as load_config
from memhub.config.importers import Imported as Imported
from memhub.config.importers import ImportRefused as ImportRefused
from memhub.config.importers import import_dump as import_dump
from memhub.config.service import RIGHTS as RIGHTS
from memhub.config.service import Limits as Limits
from memhub.config.service import RightsRule as RightsRule
from memhub.config.service import ServiceConfig as ServiceConfig
from memhub.config.service import TcpConfig as TcpConfig
